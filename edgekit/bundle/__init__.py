"""The bundle: the unit of deployment, and the only thing that the runtime opens."""

from edgekit.bundle.archive import archive
from edgekit.bundle.keys import Trust, key_id, make_keys, trust_in
from edgekit.bundle.manifest import GOLDEN, MANIFEST, EngineEntry, FileEntry, Manifest, ModelEntry, read_manifest
from edgekit.bundle.pack import Contents, pack
from edgekit.bundle.sign import sign
from edgekit.bundle.signature import SIGNATURES, Signer, signed_by
from edgekit.bundle.unarchive import unpack, verify_archive
from edgekit.bundle.verify import VerifiedBundle, read_signed, verify

__all__ = [
    "GOLDEN",
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
    "archive",
    "key_id",
    "make_keys",
    "pack",
    "read_manifest",
    "read_signed",
    "sign",
    "signed_by",
    "trust_in",
    "unpack",
    "verify",
    "verify_archive",
]
