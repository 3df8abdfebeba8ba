"""Keys are PEM files that openssl understands; what is no such key is refused in one line."""

from __future__ import annotations

import base64
import errno
import hashlib
import itertools
import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="signatures need the extra sign")

from edgekit.bundle import Trust, key_id, make_keys, trust_in
from edgekit.bundle.keys import of_small_order, read_private, read_public
from edgekit.cli import main
from edgekit.errors import EdgekitError, OutputError, TargetError
from tests.bundle.signing import PKCS8, SMALL_ORDER, SPKI, openssl, order_divides_eight
from tests.install.bundles import patched
from tests.install.test_install import crashes

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the oracle")

# RFC 8032, 7.1, TEST 1 and 2: seed, public key, message, signature.
RFC = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe246"
        "55141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb"
        "00d291612bb0c00",
    ),
]


def pem(path: Path, kind: str, der: bytes) -> Path:
    text = base64.b64encode(der).decode()
    path.write_text(f"-----BEGIN {kind} KEY-----\n{text}\n-----END {kind} KEY-----\n")
    return path


@pytest.mark.parametrize(("seed", "public", "message", "signature"), RFC)
def test_the_vectors_of_the_rfc(tmp_path, seed, public, message, signature):
    private = read_private(pem(tmp_path / "k", "PRIVATE", PKCS8 + bytes.fromhex(seed)))
    assert private.sign(bytes.fromhex(message)).hex() == signature
    assert read_public(pem(tmp_path / "k.pub", "PUBLIC", SPKI + bytes.fromhex(public))).hex() == public
    assert private.public_key().public_bytes_raw().hex() == public


def test_the_id_is_of_the_raw_key():
    raw = bytes.fromhex(RFC[0][1])
    assert key_id(raw) == hashlib.sha256(raw).hexdigest()[:16]


@needs_openssl
def test_openssl_reads_our_keys_and_we_read_its(keys, tmp_path):
    public = openssl("pkey", "-in", keys / "maker", "-pubout", "-outform", "DER")
    assert public == SPKI + read_public(keys / "maker.pub")
    openssl("genpkey", "-algorithm", "ed25519", "-out", tmp_path / "its")
    openssl("pkey", "-in", tmp_path / "its", "-pubout", "-out", tmp_path / "its.pub")
    assert read_private(tmp_path / "its").public_key().public_bytes_raw() == read_public(tmp_path / "its.pub")


def test_a_private_key_is_for_its_owner_alone(tmp_path):
    before = os.umask(0)
    try:
        made = make_keys(tmp_path / "new" / "k")
    finally:
        os.umask(before)
    modes = [stat.S_IMODE((tmp_path / "new" / name).stat().st_mode) for name in ("k", "k.pub")]
    assert modes == [0o600, 0o644]
    assert made == key_id(read_public(tmp_path / "new" / "k.pub"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["k", "k.pub"]


def test_it_is_for_its_owner_alone_from_its_first_byte_on(tmp_path, monkeypatch):
    """Whatever the umask, and before it has its name."""
    seen, real = [], os.fsync

    def fsync(file):
        found = os.fstat(file)
        if stat.S_ISREG(found.st_mode):
            seen.append((stat.S_IMODE(found.st_mode), found.st_size, sorted(path.name for path in tmp_path.glob("k*"))))
        real(file)

    monkeypatch.setattr(os, "fsync", fsync)
    before = os.umask(0)
    try:
        make_keys(tmp_path / "k")
    finally:
        os.umask(before)
    sizes = [(tmp_path / name).stat().st_size for name in ("k", "k.pub")]
    assert seen == [(0o600, sizes[0], []), (0o644, sizes[1], [])]


WAYS = ["without a name", "aside", "aside, linked"]


def takes(way: str, monkeypatch) -> None:
    """Have keys written so, as far as the system lets it."""
    from edgekit.bundle import keys as room

    if way != WAYS[0]:
        monkeypatch.setattr(room, "_nameless", lambda folder, mode: None)
    if way == WAYS[2]:
        monkeypatch.setattr("edgekit.files._renamed", lambda *_: False)


@patched
@pytest.mark.parametrize("way", WAYS)
def test_killed_at_any_call_of_the_system_there_is_no_half_key(tmp_path, monkeypatch, way):
    """Nothing, or the public one alone, or both; then it goes on, at once or when that one is removed."""
    takes(way, monkeypatch)
    seen, left = set(), set()
    for place in itertools.count():
        key = tmp_path / str(place) / "k"
        key.parent.mkdir()
        if not crashes(monkeypatch, lambda key=key: make_keys(key), place):
            break
        found = tuple(name for name in ("k", "k.pub") if (key.parent / name).exists())
        seen.add(found)
        left.update(path.suffix for path in key.parent.iterdir() if path.name not in found)
        for name in found:
            {"k": read_private, "k.pub": read_public}[name](key.parent / name)
        if found == ("k.pub",):
            with pytest.raises(
                OutputError, match=r"found one, which stays as it is; next: remove .*/k\.pub if a keygen"
            ):
                make_keys(key)
            (key.parent / "k.pub").unlink()
        if found == ("k", "k.pub"):
            assert read_private(key).public_key().public_bytes_raw() == read_public(key.parent / "k.pub")
            with pytest.raises(OutputError, match="found one, which stays as it is; next: another KEY"):
                make_keys(key)
        else:
            make_keys(key)
            assert sorted(path.name for path in key.parent.iterdir()) == ["k", "k.pub"], "what lay aside is gone"
    assert seen == {(), ("k.pub",), ("k", "k.pub")}
    assert left == (set() if way == WAYS[0] else {".part"}), "without a name nothing else is left, not even hidden"


KILLED = """
import os, signal, sys
from pathlib import Path
from edgekit.bundle import keys
def link(file, path):
    os.kill(os.getpid(), signal.SIGKILL)
keys._link = link
keys.make_keys(Path(sys.argv[1]))
"""


def test_a_kill_once_the_private_key_is_on_the_disk_leaves_none(tmp_path):
    """The system's own kill: no `finally` runs. Both keys are written by then."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    (tmp_path / "keys").mkdir()
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "keys/k"], env=environment)
    if done.returncode == 0:
        pytest.skip("the file system has no files without names")
    assert done.returncode == -9
    assert list((tmp_path / "keys").iterdir()) == []


@pytest.mark.parametrize("why", ["the system", "the file system", "no /proc"])
def test_where_there_are_no_files_without_names_they_are_written_aside(tmp_path, monkeypatch, why):
    from edgekit.bundle import keys as room

    real, tried, closed = os.open, [], []

    def opens(path, flags, *mode, **named):
        if flags & os_tmpfile == os_tmpfile:
            tried.append(path)
            if why == "the file system":
                raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real(path, flags, *mode, **named)

    os_tmpfile = os.O_TMPFILE
    monkeypatch.setattr(os, "open", opens)
    if why == "the system":
        monkeypatch.delattr(os, "O_TMPFILE")
    elif why == "no /proc":
        monkeypatch.setattr(room, "_shown", lambda file: closed.append(file) or Path("/nowhere"))
    put, asides = room.put_in_place, []
    monkeypatch.setattr(room, "put_in_place", lambda partial, path: asides.append(partial.suffix) or put(partial, path))
    make_keys(tmp_path / "k")
    assert (asides, len(tried)) == ([".part"] * 2, 0 if why == "the system" else 2)
    assert read_private(tmp_path / "k").public_key().public_bytes_raw() == read_public(tmp_path / "k.pub")
    for file in closed:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k", "k.pub"]


@pytest.mark.parametrize("way", WAYS[:2])
def test_a_private_key_that_cannot_appear_takes_the_public_one_with_it(tmp_path, monkeypatch, way):
    from edgekit.bundle import keys as room

    takes(way, monkeypatch)
    for function in ("put_in_place", "_link"):

        def full(written, path, real=getattr(room, function)):
            if path.name == "k":
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(written, path)

        monkeypatch.setattr(room, function, full)
    with pytest.raises(OutputError, match=r"expected to be able to write .*/k, found: Input/output error"):
        make_keys(tmp_path / "k")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", WAYS)
def test_of_two_at_once_one_makes_the_key(tmp_path, monkeypatch, way):
    """The other one came first, behind the look whether there is one."""
    from edgekit.bundle import keys as room

    takes(way, monkeypatch)
    monkeypatch.setattr(
        room, "beside", lambda path, real=room.beside: (other.pop()() if other else None, real(path))[1]
    )
    other = [lambda: make_keys(tmp_path / "k")]
    with pytest.raises(OutputError, match=r"expected no file at .*/k\.pub, found one, which stays"):
        make_keys(tmp_path / "k")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k", "k.pub"]
    assert read_private(tmp_path / "k").public_key().public_bytes_raw() == read_public(tmp_path / "k.pub")


@pytest.mark.parametrize("public", SMALL_ORDER, ids=bytes.hex)
def test_a_key_of_small_order_is_nobodys(tmp_path, public):
    """The group law is the oracle: eight times it is the neutral element."""
    assert order_divides_eight(public)
    assert of_small_order(public)
    with pytest.raises(EdgekitError, match=r"k\.pub, found one of small order, by which anybody can sign; next: "):
        read_public(pem(tmp_path / "k.pub", "PUBLIC", SPKI + public))


def test_other_keys_are_somebodys(keys):
    """Also those beside: one more or less in the first byte is another point, or none."""
    near = [bytes([public[0] ^ 2, *public[1:]]) for public in SMALL_ORDER]
    real = [bytes.fromhex(public) for _, public, *_ in RFC] + [read_public(keys / "maker.pub")]
    assert len(set(SMALL_ORDER)) == 14
    for public in near + real:
        assert of_small_order(public) == order_divides_eight(public) == (public in SMALL_ORDER), public.hex()


@pytest.mark.parametrize(
    ("mode", "warned"), [(0o600, False), (0o400, False), (0o700, False), (0o640, True), (0o604, True), (0o601, True)]
)
def test_a_key_that_others_can_read_signs_with_a_warning(small_bundle, tmp_path, monkeypatch, capsys, mode, warned):
    monkeypatch.chdir(tmp_path)
    make_keys(Path("k"))
    Path("k").chmod(mode)
    shutil.copytree(small_bundle, "bundle")
    with pytest.raises(SystemExit) as done:
        main(["bundle", "sign", "bundle", "--key", "k", "--json"])
    printed = capsys.readouterr()
    line = f"expected k to be for its owner alone, found mode {mode:04o}: who reads it signs as you; chmod 600 it"
    assert done.value.code in (0, None)
    assert json.loads(printed.out)["warnings"] == [line] * warned
    assert printed.err == f"edgekit: warning: {line}\n" * warned
    assert Path("bundle/signatures.json").exists()


def test_two_keys_are_two_keys(keys):
    assert read_public(keys / "maker.pub") != read_public(keys / "other.pub")


@pytest.mark.parametrize("name", ["k", "k.pub"])
@pytest.mark.parametrize("kind", ["file", "link to nothing", "folder"])
def test_no_key_is_ever_written_over(tmp_path, name, kind):
    path = tmp_path / name
    {
        "file": lambda: path.write_text("precious"),
        "link to nothing": lambda: path.symlink_to(tmp_path / "nothing"),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(OutputError, match=f"expected no file at .*/{name}, found one, which stays"):
        make_keys(tmp_path / "k")
    assert [found.name for found in tmp_path.iterdir()] == [name]
    assert kind != "file" or path.read_text() == "precious"


def test_names_that_no_private_key_may_have(tmp_path):
    with pytest.raises(OutputError, match=r"\.pub is the public one"):
        make_keys(tmp_path / "k.pub")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="expected to be able to write"):
        make_keys(tmp_path / "file" / "k")
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def made_by_cryptography(kind: str) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

    key = {
        "EC": lambda: ec.generate_private_key(ec.SECP256R1()),
        "RSA": lambda: rsa.generate_private_key(65537, 2048),
        "Ed448": ed448.Ed448PrivateKey.generate,
    }[kind]()
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    return private, key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", ["EC", "RSA", "Ed448"])
def test_keys_of_another_kind(tmp_path, kind):
    private, public = made_by_cryptography(kind)
    (tmp_path / "k").write_bytes(private)
    (tmp_path / "k.pub").write_bytes(public)
    for read, name in ((read_private, "k"), (read_public, "k.pub")):
        with pytest.raises(EdgekitError, match=f"/{name}, found a key of another kind, {kind}"):
            read(tmp_path / name)


@pytest.mark.parametrize("read", [read_private, read_public])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "found none"),
        (b"\xff\x00" * 100, "found none"),
        (b"-----BEGIN PRIVATE-----\n", "found none"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA== me@here\n", "found none"),
        (b" " * (1 << 14) + b" ", "found more than 16384 bytes"),
        (b"-----BEGIN PUBLIC X-----\n" * 2, "found several keys"),
    ],
)
def test_what_is_no_key(tmp_path, read, content, says):
    (tmp_path / "k").write_bytes(content)
    with pytest.raises(EdgekitError, match=says) as error:
        read(tmp_path / "k")
    assert error.value.exit_code == 1
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("read", [read_private, read_public])
def test_what_is_no_file(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    for name in ("nowhere", "pipe", "."):
        with pytest.raises(EdgekitError, match="found no such file"):
            read(tmp_path / name)


def test_the_wrong_one_of_the_two(keys):
    with pytest.raises(EdgekitError, match="found a public key: the private one has no"):
        read_private(keys / "maker.pub")
    with pytest.raises(EdgekitError, match="found a private key, which stays with the one who signs"):
        trust_in(keys / "maker")


@needs_openssl
def test_a_passphrase_is_not_asked_for(keys, tmp_path):
    out = tmp_path / "locked"
    openssl("pkcs8", "-topk8", "-in", keys / "maker", "-out", out, "-passout", "pass:secret")
    with pytest.raises(EdgekitError, match="found one with a passphrase"):
        read_private(out)


def test_trust_in_files_and_folders(keys):
    maker, other = (read_public(keys / f"{name}.pub") for name in ("maker", "other"))
    assert trust_in(keys) == Trust(frozenset({maker, other}), required=True)  # private keys beside do no harm
    assert trust_in(str(keys / "maker.pub")) == Trust(frozenset({maker}), required=True)
    assert trust_in([keys / "maker.pub", str(keys / "other.pub")]).keys == {maker, other}
    assert trust_in(iter([keys / "maker.pub"])).keys == {maker}
    assert not trust_in(None).asks
    assert trust_in(None, required=True).asks
    assert Trust(frozenset({maker})).asks


@pytest.mark.parametrize("nobody", [[], (), "", [""]])
def test_trusting_nobody_is_not_trusting_everyone(nobody, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(EdgekitError, match="found an empty list or name"):
        trust_in(nobody)


def test_one_name_of_several_that_is_empty(keys):
    with pytest.raises(EdgekitError, match="found an empty list or name"):
        trust_in([keys / "maker.pub", ""])


def test_a_folder_without_keys_or_with_a_bad_one(keys, tmp_path):
    shutil.copy(keys / "maker", tmp_path / "maker")
    with pytest.raises(EdgekitError, match=r"expected public keys, \*\.pub, in .*, found none"):
        trust_in(tmp_path)
    shutil.copy(keys / "maker.pub", tmp_path / "a.pub")
    (tmp_path / "b.pub").write_text("no key")
    with pytest.raises(EdgekitError, match=r"b\.pub, found none"):
        trust_in(tmp_path)


def test_without_the_package(keys, tmp_path):
    code = "import sys; sys.modules['cryptography'] = None; from pathlib import Path; from edgekit.bundle import *\n"
    code += "from edgekit.errors import TargetError\n"
    for call in (
        f"trust_in({str(keys)!r})",
        "trust_in(None, True)",
        "make_keys(Path('k'))",
        "sign(Path('b'), Path('k'))",
    ):
        code += f"try: {call}\nexcept TargetError as error: print(error)\n"
    code += "assert not trust_in(None).asks\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    line = "expected the package cryptography for signatures, found none; next: pip install 'edgekit[sign]'"
    assert done.stdout.splitlines() == [line] * 4, done.stderr
    assert TargetError.exit_code == 6
    assert list(tmp_path.iterdir()) == []
