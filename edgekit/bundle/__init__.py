"""The bundle: the unit of deployment, and the only thing that the runtime opens."""

from edgekit.bundle.keys import Trust, key_id, make_keys, trust_in
from edgekit.bundle.manifest import MANIFEST, EngineEntry, FileEntry, Manifest, ModelEntry, read_manifest
from edgekit.bundle.pack import Contents, pack
from edgekit.bundle.sign import sign
from edgekit.bundle.signature import SIGNATURES, Signer, signed_by
from edgekit.bundle.verify import VerifiedBundle, read_signed, verify

__all__ = [
    "MANIFEST",
    "SIGNATURES",
    "Contents",
    "EngineEntry",
    "FileEntry",
    "Manifest",
    "ModelEntry",
    "Signer",
    "Trust",
    "VerifiedBundle",
    "key_id",
    "make_keys",
    "pack",
    "read_manifest",
    "read_signed",
    "sign",
    "signed_by",
    "trust_in",
    "verify",
]
