"""The bundle: the unit of deployment, and the only thing that the runtime opens."""

from edgekit.bundle.manifest import MANIFEST, EngineEntry, FileEntry, Manifest, ModelEntry, read_manifest
from edgekit.bundle.pack import Contents, pack
from edgekit.bundle.verify import VerifiedBundle, verify

__all__ = [
    "MANIFEST",
    "Contents",
    "EngineEntry",
    "FileEntry",
    "Manifest",
    "ModelEntry",
    "VerifiedBundle",
    "pack",
    "read_manifest",
    "verify",
]
