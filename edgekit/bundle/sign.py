"""Sign a bundle with a private key, beside the signatures that it has."""

from __future__ import annotations

from pathlib import Path

from edgekit.bundle.keys import Trust, read_private
from edgekit.bundle.link import following
from edgekit.bundle.signature import (
    DOMAIN,
    SIGNATURES,
    Signature,
    Signer,
    check_signatures,
    dump_signatures,
    parse_signatures,
    read_signatures,
)
from edgekit.bundle.verify import verify_folder
from edgekit.files import written_aside


def sign(bundle: Path, key: Path) -> Signer:
    """Verify the bundle, then write or renew this key's signature of it; return whose it is.

    The same key gives the same bytes. Raises IntegrityError for a bundle that is damaged or has a signature that does
    not verify, EdgekitError for a file that is no private key.
    """
    private = read_private(key)
    for left in bundle.glob(f".{SIGNATURES}.*.part"):  # of one that was killed: by it the bundle would not verify
        left.unlink(missing_ok=True)
    manifest = following(bundle, verify_folder).manifest.dump()  # its one form, hence the file's bytes
    public = private.public_key().public_bytes_raw()
    made = Signature(public.hex(), private.sign(DOMAIN + manifest).hex())
    others = [item for item in read_signatures(bundle) if item.public_key != made.public_key]
    data = dump_signatures([*others, made])
    signers = check_signatures(parse_signatures(data), manifest, Trust(frozenset({public})))
    with written_aside(bundle / SIGNATURES) as partial:
        partial.write_bytes(data)
    return next(signer for signer in signers if signer.state == "trusted")
