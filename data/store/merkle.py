"""A Merkle tree's hashes, paths and proofs, pure (RFC 9162 section 2.1); used by the audit log."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The complete subtrees of a growing tree, largest first: enough to append and to take the root."""

    def __init__(self) -> None:
        self.size = 0
        self._hashes: list[bytes] = []

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Adds a leaf hash; returns what it completes: (level, position, hash), the leaf itself first."""
        level, position, digest = 0, self.size, leaf
        completed = [(level, position, digest)]
        while position & 1:
            digest = node_hash(self._hashes.pop(), digest)
            level, position = level + 1, position >> 1
            completed.append((level, position, digest))
        self._hashes.append(digest)
        self.size += 1
        return completed

    def root(self) -> bytes:
        return fold(self._hashes)


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over the complete subtrees that `cover` names, in its order."""
    if not hashes:
        return EMPTY_ROOT
    *rest, digest = hashes
    for left in reversed(rest):
        digest = node_hash(left, digest)
    return digest


def cover(start: int, end: int) -> list[tuple[int, int]]:
    """The complete subtrees (level, position) that make up the leaves [start, end), largest first.

    `start` must be a multiple of the largest one's width, as it is for every range below.
    """
    subtrees = []
    for level in range((end - start).bit_length() - 1, -1, -1):
        if (end - start) >> level & 1:
            subtrees.append((level, start >> level))
            start += 1 << level
    return subtrees


def inclusion_ranges(index: int, size: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots make the inclusion path of leaf `index`, nearest first (2.1.3.1)."""
    start, end, ranges = 0, size, []
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    return ranges[::-1]


def consistency_ranges(old: int, new: int) -> list[tuple[int, int]]:
    """The ranges of leaves whose roots make the consistency path from size `old` to `new` (2.1.4.1)."""
    if old == 0:
        return []
    start, end, ranges = 0, new, []
    while end != old:
        split = start + _split(end - start)
        if old <= split:
            ranges.append((split, end))
            end = split
        else:
            ranges.append((start, split))
            start = split
    if start > 0:
        ranges.append((start, end))
    return ranges[::-1]


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes."""
    frontier = Frontier()
    for leaf in leaves:
        frontier.append(leaf)
    return frontier.root()


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    return [root(leaves[start:end]) for start, end in inclusion_ranges(index, len(leaves))]


def consistency_path(leaves: Sequence[bytes], old: int) -> list[bytes]:
    return [root(leaves[start:end]) for start, end in consistency_ranges(old, len(leaves))]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], expected: bytes) -> bool:
    """Whether a tree of that size and root has this leaf hash at this index (2.1.3.2)."""
    if not 0 <= index < size:
        return False
    first, last, digest = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if first & 1 or first == last:
            digest = node_hash(sibling, digest)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            digest = node_hash(digest, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and digest == expected


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether the tree of size `new` begins with the tree of size `old` (2.1.4.2)."""
    if not 0 <= old <= new:
        return False
    if old == new:
        return not path and old_root == new_root
    if old == 0:
        return not path and old_root == EMPTY_ROOT
    first, last = old - 1, new - 1
    while first & 1:
        first, last = first >> 1, last >> 1
    hashes = list(path) if first else [old_root, *path]
    if not hashes:
        return False
    from_old = from_new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if first & 1 or first == last:
            from_old, from_new = node_hash(sibling, from_old), node_hash(sibling, from_new)
            while not first & 1 and first:
                first, last = first >> 1, last >> 1
        else:
            from_new = node_hash(from_new, sibling)
        first, last = first >> 1, last >> 1
    return last == 0 and from_old == old_root and from_new == new_root


def _split(width: int) -> int:
    """The largest power of two below a width of two or more."""
    return 1 << (width - 1).bit_length() - 1
