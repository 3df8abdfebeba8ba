"""The bundle: the unit of deployment, and the only thing that the runtime opens."""

from edgekit.bundle.archive import archive
from edgekit.bundle.entries import EngineEntry, FileEntry, ModelEntry, QuantizationEntry
from edgekit.bundle.keys import Trust, key_id, make_keys, trust_in
from edgekit.bundle.manifest import GOLDEN, MANIFEST, Manifest
from edgekit.bundle.pack import Contents, pack
from edgekit.bundle.sign import sign
from edgekit.bundle.signature import SIGNATURES, Signer, signed_by
from edgekit.bundle.unarchive import is_archive, unpack, verify_archive
from edgekit.bundle.verified import VerifiedBundle
from edgekit.bundle.verify import read_manifest, read_signed, verify

__all__ = [
    "GOLDEN",
    "MANIFEST",
    "SIGNATURES",
    "Contents",
    "EngineEntry",
    "FileEntry",
    "Manifest",
    "ModelEntry",
    "QuantizationEntry",
    "Signer",
    "Trust",
    "VerifiedBundle",
    "archive",
    "is_archive",
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
