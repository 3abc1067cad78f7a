"""When two pictures are the same: nearly equal perceptual hashes and nearly equal colours, as after
compression, scaling or a caption bar that is removed."""

from __future__ import annotations

from dataclasses import dataclass

import imagehash
import numpy as np
from PIL import Image

from ..arrays import I64, U8

BITS = 256
SAME_BITS = 24  # of BITS; two unrelated pictures differ in about half of them
SAME_COLOR = 12.0  # grey levels
_BANDS = SAME_BITS + 1  # of bits: of as many differing ones, one band at least has none
_STRIP = 2048  # pictures of a bucket that are compared at a time


@dataclass(frozen=True, eq=False)
class Signature:
    """hash: perceptual hash, packed bits ``(32,)``; color: mean colours ``(8, 8, 3)``."""

    hash: U8
    color: U8

    @classmethod
    def of(cls, pixels: U8) -> Signature:
        """From RGB ``(h, w, 3)``; scaling and compression hardly change it."""
        small = Image.fromarray(pixels).resize((128, 128), Image.Resampling.BOX)
        bits = imagehash.phash(small, hash_size=16).hash
        color = small.resize((8, 8), Image.Resampling.BOX)
        return cls(np.packbits(bits), np.asarray(color, np.uint8))

    def differing_bits(self, other: Signature) -> int:
        """Of BITS."""
        return int(np.bitwise_count(self.hash ^ other.hash).sum())


class Seen:
    """Signatures that came before, by number."""

    def __init__(self) -> None:
        self._hashes = np.empty((64, BITS // 8), np.uint8)
        self._colors = np.empty((64, 192), np.uint8)
        self._numbers: list[int] = []

    def add(self, number: int, signature: Signature) -> None:
        """Remember a picture."""
        count = len(self._numbers)
        if count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.empty_like(self._hashes)])
            self._colors = np.concatenate([self._colors, np.empty_like(self._colors)])
        self._hashes[count], self._colors[count] = signature.hash, signature.color.reshape(-1)
        self._numbers.append(number)

    def find(self, signature: Signature) -> int | None:
        """The number of the picture that is the same, the most alike of them; else None."""
        count = len(self._numbers)
        if not count:
            return None
        bits = np.bitwise_count(self._hashes[:count] ^ signature.hash).sum(axis=1)
        near = np.flatnonzero(bits <= SAME_BITS)
        colors = self._colors[near].astype(np.int16) - signature.color.reshape(-1)
        near = near[np.abs(colors).mean(axis=1) <= SAME_COLOR]
        return self._numbers[near[np.argmin(bits[near])]] if near.size else None


def same_pictures(hashes: U8, colors: U8) -> I64:
    """All pairs ``(pair, 2)`` of pictures that are the same, the earlier one first.

    hashes ``(picture, 32)`` and colors ``(picture, 192)`` of their signatures. Of pictures with
    equal signatures each is paired with the first alone. Two that differ in `SAME_BITS` at most
    agree in one of `_BANDS` bands of bits: only such are compared, and none is missed.
    """
    both = np.concatenate([hashes, colors], axis=1)
    _, first, group = np.unique(both, axis=0, return_index=True, return_inverse=True)
    group = group.reshape(-1)
    leader = first[group]
    copies = np.flatnonzero(leader != np.arange(len(both)))
    found = [np.stack([leader[copies], copies], axis=1)]
    bits = np.unpackbits(hashes[first], axis=1)
    for band in np.array_split(np.arange(BITS), _BANDS):
        found += [first[pair] for pair in _in_buckets(bits[:, band], hashes[first], colors[first])]
    pairs = np.sort(np.concatenate(found).astype(np.int64).reshape(-1, 2), axis=1)
    return np.unique(pairs, axis=0)


def _in_buckets(band: U8, hashes: U8, colors: U8) -> list[I64]:
    """Pairs that are the same among pictures with equal bits of a band."""
    keys = band @ (1 << np.arange(band.shape[1], dtype=np.int64))
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    found = []
    for bucket in np.split(order, starts[1:]):
        for at in range(0, len(bucket), _STRIP):
            some = bucket[at : at + _STRIP]
            found += [_same_of(some, bucket[at:], hashes, colors)] if len(bucket) > 1 else []
    return found


def _same_of(some: I64, others: I64, hashes: U8, colors: U8) -> I64:
    words = hashes.view(np.uint64)
    differing = np.zeros((len(some), len(others)), np.uint16)
    for word in range(words.shape[1]):
        differing += np.bitwise_count(words[some, word][:, None] ^ words[others, word][None])
    left, right = np.nonzero((differing <= SAME_BITS) & (some[:, None] < others[None]))
    left, right = some[left], others[right]
    apart = np.abs(colors[left].astype(np.int16) - colors[right]).mean(axis=1)
    found: I64 = np.stack([left, right], axis=1)[apart <= SAME_COLOR]
    return found
