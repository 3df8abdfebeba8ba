"""Signatures: openssl makes and verifies the same; whatever was changed, added or taken away is refused."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import onnx
import onnxruntime
import pytest

pytest.importorskip("cryptography", reason="signatures need the extra sign")

from edgekit.bundle import (
    Contents,
    FileEntry,
    Trust,
    key_id,
    pack,
    read_manifest,
    read_signed,
    sign,
    trust_in,
    verify,
)
from edgekit.bundle.keys import read_public
from edgekit.bundle.signature import DOMAIN, SIGNATURES, parse_signatures
from edgekit.errors import IntegrityError
from edgekit.files import sha256_of
from edgekit.runtime import Session
from tests.bundle.signing import PKCS8, SMALL_ORDER, SPKI, entries, openssl, signed_by_openssl, write_signatures
from tests.install.bundles import patched
from tests.install.test_install import crashes

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the oracle")


@pytest.fixture(autouse=True)
def nothing_is_loaded(monkeypatch):
    """Every test here ends before onnxruntime sees a byte."""
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *_, **__: pytest.fail("a model was loaded"))


@pytest.fixture
def bundle(small_bundle: Path, tmp_path: Path) -> Path:
    shutil.copytree(small_bundle, tmp_path / "bundle")
    return tmp_path / "bundle"


@pytest.fixture
def signed(bundle: Path, keys: Path) -> Path:
    """Signed by the maker."""
    sign(bundle, keys / "maker")
    return bundle


@pytest.fixture
def trust(keys: Path) -> Trust:
    return trust_in(keys / "maker.pub")


def states(bundle: Path, trust: Trust = Trust()) -> dict[str, str]:
    return {signer.key: signer.state for signer in verify(bundle, trust=trust).signers}


def id_of(keys: Path, name: str) -> str:
    return key_id(read_public(keys / f"{name}.pub"))


def test_what_is_known_of_a_signer(signed, keys, trust):
    maker = id_of(keys, "maker")
    assert states(signed, trust) == {maker: "trusted"}
    assert states(signed) == {maker: "verified"}
    assert states(signed, trust_in(None, required=True)) == {maker: "verified"}
    assert verify(signed, trust=trust).signed == f"signed by {maker}, trusted"
    assert verify(signed).signed == f"signed by {maker}, valid, no trusted keys given"


def test_the_manifest_stays_as_it_is(bundle, keys):
    before = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    sign(bundle, keys / "maker")
    after = {path: path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    assert after.keys() - before.keys() == {bundle / SIGNATURES}
    assert before == {path: after[path] for path in before}
    assert SIGNATURES not in read_manifest(bundle).files


def test_signing_twice_gives_the_same_bytes(signed, keys):
    first = (signed / SIGNATURES).read_bytes()
    assert sign(signed, keys / "maker").key == id_of(keys, "maker")
    assert (signed / SIGNATURES).read_bytes() == first


def test_two_signers_in_any_order(bundle, keys, trust):
    made = []
    for order in (("maker", "other"), ("other", "maker")):
        (bundle / SIGNATURES).unlink(missing_ok=True)
        for name in order:
            assert sign(bundle, keys / name).key == id_of(keys, name)
        made.append((bundle / SIGNATURES).read_bytes())
    assert made[0] == made[1]
    maker, other = id_of(keys, "maker"), id_of(keys, "other")
    assert states(bundle, trust) == {maker: "trusted", other: "unknown"}
    said = f"signed by {maker}, trusted and by {other}, not among the trusted keys"
    assert verify(bundle, trust=trust).signed == said
    assert states(bundle, trust_in(keys)) == dict.fromkeys((maker, other), "trusted")


@needs_openssl
def test_openssl_verifies_our_signature(signed, keys, tmp_path):
    (tmp_path / "message").write_bytes(DOMAIN + (signed / "manifest.json").read_bytes())
    (entry,) = entries(signed)
    (tmp_path / "signature").write_bytes(bytes.fromhex(entry["signature"]))
    verified = ("pkeyutl", "-verify", "-pubin", "-inkey", keys / "maker.pub", "-rawin", "-in", tmp_path / "message")
    assert b"Verified Successfully" in openssl(*verified, "-sigfile", tmp_path / "signature")
    assert bytes.fromhex(entry["public_key"]) == openssl(
        "pkey", "-pubin", "-in", keys / "maker.pub", "-pubout", "-outform", "DER"
    ).removeprefix(SPKI)
    (tmp_path / "message").write_bytes(DOMAIN + b"x" + (signed / "manifest.json").read_bytes())
    with pytest.raises(subprocess.CalledProcessError):
        openssl(*verified, "-sigfile", tmp_path / "signature")


@needs_openssl
def test_a_signature_of_openssl_verifies_here(bundle, keys, trust, tmp_path):
    """Ed25519 leaves no choice: it is the very file that we write."""
    write_signatures(bundle, signed_by_openssl(bundle, keys / "maker", tmp_path / "scratch"))
    assert states(bundle, trust) == {id_of(keys, "maker"): "trusted"}
    its = (bundle / SIGNATURES).read_bytes()
    (bundle / SIGNATURES).unlink()
    sign(bundle, keys / "maker")
    assert (bundle / SIGNATURES).read_bytes() == its


@needs_openssl
def test_a_signature_for_another_purpose_is_none(bundle, keys, tmp_path):
    for domain in (b"", b"edgekit bundle manifest 2\n"):
        write_signatures(bundle, signed_by_openssl(bundle, keys / "maker", tmp_path / "scratch", domain))
        with pytest.raises(IntegrityError, match="to be one of this manifest"):
            verify(bundle)


@pytest.mark.parametrize(("name", "bits"), [(SIGNATURES, 8), ("manifest.json", 1)])
def test_every_byte_counts(signed, name, bits, trust):
    path = signed / name
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in range(place, place + bits):
            bad = bytearray(good)
            bad[place] ^= 1 << bit % 8
            path.write_bytes(bad)
            with pytest.raises(IntegrityError):
                read_signed(signed, trust)
    path.write_bytes(good)
    read_signed(signed, trust)


def test_the_signature_is_checked_before_the_manifest_is_parsed(signed):
    (signed / "manifest.json").write_text("[" * 5000)
    with pytest.raises(IntegrityError, match="to be one of this manifest, found that it is not"):
        verify(signed)


@pytest.mark.parametrize("trusted", [True, False])
def test_a_signature_that_does_not_verify_is_refused_whatever_is_asked(signed, keys, trusted):
    """Also that of a stranger, beside the right one."""
    sign(signed, keys / "other")
    broken = entries(signed)
    other = read_public(keys / "other.pub").hex()
    for entry in broken:
        if entry["public_key"] == other:
            entry["signature"] = entry["signature"][::-1]
    write_signatures(signed, *broken)
    with pytest.raises(IntegrityError, match=f"expected the signature of {id_of(keys, 'other')} to be one of this"):
        Session.open(signed, trusted_keys=keys / "maker.pub" if trusted else None)


def repacked(bundle: Path, **changes: bytes) -> None:
    """What an attacker does who can compute SHA-256: other files and a manifest that is right about them."""
    manifest = read_manifest(bundle)
    for name, data in changes.items():
        (bundle / name.replace("__", ".")).write_bytes(data)
    files = {name: FileEntry((bundle / name).stat().st_size, sha256_of(bundle / name)) for name in manifest.files}
    (bundle / "manifest.json").write_bytes(replace(manifest, files=files).dump())


def of_my_own(bundle: Path) -> bytes:
    model = onnx.load(bundle / "model.onnx")
    model.graph.name = "of my own"
    return model.SerializeToString()


def test_another_model_with_a_manifest_that_is_right_about_it(signed, keys):
    repacked(signed, model__onnx=of_my_own(signed))
    with pytest.raises(IntegrityError, match="one of the two was changed"):
        Session.open(signed)
    (signed / SIGNATURES).unlink()
    verify(signed)  # that is what digests alone are worth
    for asked in ({"trusted_keys": keys / "maker.pub"}, {"require_signature": True}):
        with pytest.raises(IntegrityError, match="expected a signed bundle, found no signature"):
            Session.open(signed, **asked)


def test_signed_anew_by_a_stranger(signed, keys, trust):
    repacked(signed, model__onnx=of_my_own(signed))
    (signed / SIGNATURES).unlink()
    sign(signed, keys / "other")
    found, wanted = id_of(keys, "other"), id_of(keys, "maker")
    with pytest.raises(IntegrityError, match=f"expected a signature by a trusted key, {wanted}, found {found}"):
        verify(signed, trust=trust)
    assert states(signed) == {found: "verified"}, "without trusted keys it is only named"


def test_a_strangers_key_under_the_makers_signature(signed, keys):
    (entry,) = entries(signed)
    write_signatures(signed, {**entry, "public_key": read_public(keys / "other.pub").hex()})
    with pytest.raises(IntegrityError, match="to be one of this manifest"):
        verify(signed)


def test_the_makers_key_over_a_strangers_signature(signed, keys, trust):
    sign(signed, keys / "other")
    signatures = {entry["public_key"]: entry["signature"] for entry in entries(signed)}
    maker, other = (read_public(keys / f"{name}.pub").hex() for name in ("maker", "other"))
    write_signatures(signed, {"public_key": maker, "signature": signatures[other]})
    with pytest.raises(IntegrityError, match="to be one of this manifest"):
        verify(signed, trust=trust)


def test_the_signature_of_another_bundle(signed, bundle, keys, tmp_path):
    manifest = replace(read_manifest(signed), verdict="PASS (another bundle)")
    contents = Contents({name: signed / name for name in manifest.files})
    pack(tmp_path / "another", manifest, contents)
    shutil.copy(signed / SIGNATURES, tmp_path / "another")
    with pytest.raises(IntegrityError, match="to be one of this manifest"):
        verify(tmp_path / "another")


def test_files_that_change_places_after_the_signature(signed, trust):
    names = sorted(read_manifest(signed).files)
    first, second = (signed / names[0], signed / names[1])
    first.rename(signed / "aside")
    second.rename(first)
    (signed / "aside").rename(second)
    with pytest.raises(IntegrityError, match=r"expected \d+ bytes in|it was changed"):
        verify(signed, trust=trust)


def test_one_more_file_is_one_too_many(signed, trust):
    for name in ("signatures.json.old", "reports/signatures.json", "signature.json", "manifest.sig"):
        (signed / name).write_bytes((signed / SIGNATURES).read_bytes())
        with pytest.raises(IntegrityError, match=f"found {name} too"):
            verify(signed, trust=trust)
        (signed / name).unlink()


def test_a_manifest_that_lists_the_signatures_is_refused(signed):
    manifest = read_manifest(signed)
    listed = replace(manifest, files={**manifest.files, SIGNATURES: FileEntry(1, "0" * 64)})
    (signed / SIGNATURES).unlink()
    (signed / "manifest.json").write_bytes(listed.dump())
    with pytest.raises(IntegrityError, match="file names that differ"):
        verify(signed)


def link(bundle: Path) -> None:
    (bundle / SIGNATURES).rename(bundle.parent / "elsewhere")
    (bundle / SIGNATURES).symlink_to(bundle.parent / "elsewhere")


def instead(make):
    def damage(bundle: Path) -> None:
        (bundle / SIGNATURES).unlink()
        make(bundle / SIGNATURES)

    return damage


def text(value) -> str:
    return json.dumps(value, indent=1, sort_keys=True) + "\n"


ENTRY = {"public_key": "00" * 32, "signature": "00" * 64}


@pytest.mark.parametrize("asked", [True, False])
@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (link, "found a link or a device"),
        (instead(lambda path: path.symlink_to("/nowhere")), "found a link or a device"),
        (instead(Path.mkdir), "found a link or a device"),
        (instead(os.mkfifo), "found a link or a device"),
        *(
            (lambda bundle, data=data: (bundle / SIGNATURES).write_text(data), says)
            for data, says in [
                ("", "as edgekit writes it"),
                ("{", "as edgekit writes it"),
                ("[" * 16000, "as edgekit writes it"),
                ("1" * 16000, "as edgekit writes it"),
                (" " * (1 << 14) + "{}", "below 16384 bytes"),
                (text({}), "as edgekit writes it"),
                (text([]), "as edgekit writes it"),
                (text({"schema": 1, "signatures": 1}), "as edgekit writes it"),
                (text({"schema": 1, "signatures": [1]}), "as edgekit writes it"),
                (text({"schema": 1, "signatures": "ab"}), "as edgekit writes it"),
                (text({"schema": 1, "signatures": [{**ENTRY, "signature": 7}]}), "as edgekit writes it"),
                (text({"schema": 1, "signatures": []}), "expected 1 to 32 signatures"),
                (text({"schema": 1, "signatures": [ENTRY, ENTRY]}), "expected 1 to 32 signatures"),
                (text({"schema": 1, "signatures": [{**ENTRY, "public_key": "A" * 64}]}), "expected 1 to 32 signatures"),
                (text({"schema": 1, "signatures": [{**ENTRY, "public_key": "00" * 31}]}), "expected 1 to 32"),
                (text({"schema": 1, "signatures": [{**ENTRY, "signature": "00" * 64 + "\n"}]}), "expected 1 to 32"),
                (text({"schema": 2, "signatures": [ENTRY]}), "found another form"),
                (text({"schema": True, "signatures": [ENTRY]}), "found another form"),
                (text({"schema": 1, "signatures": [ENTRY], "more": 1}), "found another form"),
                (text({"schema": 1, "signatures": [{**ENTRY, "more": 1}]}), "found another form"),
                (text({"schema": 1, "signatures": [ENTRY]}) + "\n", "found another form"),
            ]
        ),
    ],
)
def test_what_a_hostile_file_of_signatures_may_be(signed, keys, damage, says, asked):
    damage(signed)
    with pytest.raises(IntegrityError, match=says) as error:
        Session.open(signed, trusted_keys=keys / "maker.pub" if asked else None)
    assert error.value.exit_code == 7
    assert "\n" not in str(error.value)


def test_at_most_so_many_signers_and_all_fit_into_the_file():
    many = [{"public_key": f"{number:064x}", "signature": "00" * 64} for number in range(1, 34)]
    most = text({"schema": 1, "signatures": many[:32]}).encode()
    assert len(most) < 1 << 14
    assert len(parse_signatures(most)) == 32
    with pytest.raises(IntegrityError, match="expected 1 to 32 signatures"):
        parse_signatures(text({"schema": 1, "signatures": many}).encode())


def test_one_signer_too_many_is_refused_before_anything_is_written(bundle, keys, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    message = DOMAIN + (bundle / "manifest.json").read_bytes()
    strangers = [Ed25519PrivateKey.from_private_bytes(bytes([number] * 32)) for number in range(1, 33)]
    write_signatures(
        bundle,
        *(
            {"public_key": key.public_key().public_bytes_raw().hex(), "signature": key.sign(message).hex()}
            for key in strangers
        ),
    )
    before = (bundle / SIGNATURES).read_bytes()
    assert len(states(bundle)) == 32
    with pytest.raises(IntegrityError, match="expected 1 to 32 signatures"):
        sign(bundle, keys / "maker")
    assert (bundle / SIGNATURES).read_bytes() == before
    assert [path.name for path in bundle.glob(".*")] == []


def test_a_damaged_bundle_is_not_signed(bundle, keys):
    (bundle / "model.onnx").write_bytes(b"x")
    with pytest.raises(IntegrityError, match="bytes in"):
        sign(bundle, keys / "maker")
    assert not (bundle / SIGNATURES).exists()


def test_packing_again_drops_the_signatures(signed, keys):
    manifest = read_manifest(signed)
    copies = {}
    for name in manifest.files:
        copies[name] = signed.parent / name.replace("/", "_")
        shutil.copy(signed / name, copies[name])
    pack(signed, manifest, Contents(copies))
    assert not (signed / SIGNATURES).exists()
    assert verify(signed).signed == "not signed"


def test_deploying_again_drops_them_too(small_onnx, small_data, keys, tmp_path, monkeypatch):
    monkeypatch.undo()  # this one loads the model
    from edgekit.configs import DeployConfig
    from edgekit.deploy import deploy

    config = DeployConfig(target="cpu", precision="fp32", data=str(small_data))
    made = deploy(str(small_onnx), tmp_path, config).path
    sign(made, keys / "maker")
    assert verify(deploy(str(small_onnx), tmp_path, config).path).signed == "not signed"


WITHOUT = """
import sys
from pathlib import Path
sys.modules["cryptography"] = None
from edgekit.bundle import Trust, verify
from edgekit.errors import EdgekitError
from edgekit.runtime import Session
bundle, keys = sys.argv[1:3]
with Session.open(bundle) as session:
    print(session.signed)
for call in (
    lambda: Session.open(bundle, trusted_keys=keys),
    lambda: Session.open(bundle, require_signature=True),
    lambda: verify(Path(bundle), trust=Trust(required=True)),
):
    try:
        call()
    except EdgekitError as error:
        print(error.exit_code, error)
"""


def in_another_process(code: str, *arguments: Path) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_without_the_package_a_signature_is_named_and_not_checked(signed, keys):
    install = "pip install 'edgekit[sign]'"
    refused = f"6 expected the package cryptography for signatures, found none; next: {install}"
    named = f"signed by {id_of(keys, 'maker')}, not checked: {install}"
    assert in_another_process(WITHOUT, signed, keys) == [named, refused, refused, refused]
    (signed / SIGNATURES).unlink()
    assert in_another_process(WITHOUT, signed, keys)[:3] == ["not signed", refused, refused]


def test_the_package_is_loaded_only_for_a_signature(signed, keys):
    code = "import sys; from edgekit.runtime import Session\n"
    code += "with Session.open(sys.argv[1]): print('cryptography' in sys.modules)"
    assert in_another_process(code, signed) == ["True"]
    (signed / SIGNATURES).unlink()
    assert in_another_process(code, signed) == ["False"]


def test_the_raw_key_is_what_the_file_has(signed, keys):
    """The private key's seed stands behind PKCS8's sixteen bytes, and nowhere in the bundle."""
    der = openssl("pkey", "-in", keys / "maker", "-outform", "DER") if shutil.which("openssl") else b""
    if not der:
        pytest.skip("openssl is the oracle")
    assert der.startswith(PKCS8)
    assert der.removeprefix(PKCS8).hex() not in (signed / SIGNATURES).read_text()


def test_what_a_killed_sign_left_does_not_stay(signed, keys, tmp_path):
    inside = signed / f".{SIGNATURES}.4711-123456789.part"
    beside = tmp_path / f".bundle.{SIGNATURES}.4711-123456789.part"
    others = tmp_path / f".bundle2.{SIGNATURES}.4711-123456789.part"
    for left in (inside, beside, others):
        left.write_bytes(b"half a")
    with pytest.raises(IntegrityError, match=r"\.part too"):
        verify(signed)
    sign(signed, keys / "maker")
    assert [left.exists() for left in (inside, beside, others)] == [False, False, True]
    verify(signed)


@patched
@pytest.mark.parametrize("again", [False, True])
def test_killed_at_any_call_of_the_system_the_bundle_verifies(bundle, keys, tmp_path, monkeypatch, again):
    """What was written lies beside it, and goes with the next one."""
    if again:
        sign(bundle, keys / "other")
    found = set()
    for place in itertools.count():
        copy = tmp_path / str(place) / "bundle[1]"  # as a pattern it would be another name
        shutil.copytree(bundle, copy)
        if not crashes(monkeypatch, lambda copy=copy: sign(copy, keys / "maker"), place):
            break
        found.add((len(states(copy)), len(list(copy.parent.iterdir()))))
        sign(copy, keys / "maker")
        assert len(states(copy)) == 1 + again
        assert list(copy.parent.iterdir()) == [copy]
    assert found == {(again, 2), (1 + again, 1)}, "signatures, and things in the folder where the bundle is"
    assert place >= 3


@pytest.mark.parametrize("why", ["not ours", "another file system"])
def test_where_nothing_can_be_written_beside_it_it_is_written_inside(bundle, keys, monkeypatch, why):
    real_open, real_replace = Path.open, Path.replace

    def opens(path, *arguments, **named):
        if why == "not ours" and path.parent == bundle.parent and path.suffix == ".part":
            raise PermissionError(13, "Permission denied")
        return real_open(path, *arguments, **named)

    def replaces(path, target):
        if path.parent == bundle.parent:
            raise OSError(18, "Invalid cross-device link")
        return real_replace(path, target)

    monkeypatch.setattr(Path, "open", opens)
    monkeypatch.setattr(Path, "replace", replaces)
    sign(bundle, keys / "maker")
    assert states(bundle) == {id_of(keys, "maker"): "verified"}
    assert [path.name for path in (*bundle.glob(".*"), *bundle.parent.glob(".*"))] == []


def test_a_link_to_a_bundle_is_signed_at_its_end(bundle, keys, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/link").symlink_to(bundle)
    sign(tmp_path / "elsewhere/link", keys / "maker")
    monkeypatch.chdir(bundle)
    sign(Path(), keys / "other")
    assert len(states(bundle)) == 2
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["link"]


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_by_a_key_of_small_order_nobody_has_signed(bundle, public):
    """R and s of this signature are those of 8 * anything = 0; OpenSSL takes most of them for some message."""
    entry = {"public_key": public.hex(), "signature": "01" + 63 * "00"}
    write_signatures(bundle, entry)
    with pytest.raises(IntegrityError, match=f"found {key_id(public)}, of small order, by which anybody can sign"):
        verify(bundle)


def test_openssl_takes_a_signature_by_nobodys_key(bundle):
    """Why we look ourselves: of the neutral element, R = 0 and s = 0 sign everything."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    neutral = bytes([1, *bytes(31)])
    for message in (b"one", DOMAIN + (bundle / "manifest.json").read_bytes()):
        Ed25519PublicKey.from_public_bytes(neutral).verify(neutral + bytes(32), message)
    write_signatures(bundle, {"public_key": neutral.hex(), "signature": (neutral + bytes(32)).hex()})
    with pytest.raises(IntegrityError, match="of small order"):
        verify(bundle)
