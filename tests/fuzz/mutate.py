"""Random changes of seeds, the same ones each time: what fuzzing is without coverage."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator

# Where sizes, signs and parsers change their mind.
_ODD = (b"", b"\0", b"\xff", b"\x80", b"\n", b"\x1b[31m", b"-1", b"1e999", b"nan", b"9" * 400, b"1" * 5000, b"[" * 3000,
        b"{" * 300, b"\xff" * 8, b"\xff\xff\xff\xff\x0f", b"\xed\xa0\x80", b"\xef\xbb\xbf", "٣".encode(), b'"', b"..",
        b"/", b":", b"@", b"x" * 300, b"\\u001b", b"\\ud800")  # fmt: skip


def mutants(name: str, seeds: list[bytes], count: int, longest: int) -> Iterator[bytes]:
    """`count` of them, each a seed with one to four changes; `name` decides which."""
    chance = random.Random(name)
    words = tokens(seeds)
    for _ in range(count):
        data = chance.choice(seeds)
        for _ in range(chance.randint(1, 4)):
            data = _changed(data, chance, [*words, *_ODD], seeds)
        yield data[:longest]


def tokens(seeds: list[bytes]) -> list[bytes]:
    """The words, numbers and signs of the seeds, in order."""
    return sorted({word for seed in seeds for word in re.findall(rb"[A-Za-z_][\w.]{1,30}|\d+|[<>=@:,\[\]{}]+", seed)})


def _changed(data: bytes, chance: random.Random, words: list[bytes], seeds: list[bytes]) -> bytes:
    low, high = sorted(chance.randint(0, len(data)) for _ in range(2))
    kind = chance.randrange(6)
    if kind == 0:  # a bit
        at = chance.randrange(len(data) or 1)
        return data[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in data[at : at + 1]) + data[at + 1 :]
    if kind == 1:  # a part left out, or the rest
        return data[:low] + (data[high:] if chance.random() < 0.7 else b"")
    if kind == 2:  # a part twice
        return data[:high] + data[low:high] * chance.choice((1, 2, 50)) + data[high:]
    if kind == 3:  # the end of another
        other = chance.choice(seeds)
        return data[:low] + other[chance.randint(0, len(other)) :]
    if kind == 4:  # a word written over, or in between
        word = chance.choice(words)
        return data[:low] + word + data[low + chance.choice((0, len(word))) :]
    # a word in the place of another
    found = list(re.finditer(rb"\w+", data))
    if not found:
        return data + chance.choice(words)
    old = chance.choice(found)
    return data[: old.start()] + chance.choice(words) + data[old.end() :]
