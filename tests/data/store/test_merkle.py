"""The tree against the published vectors, and against itself on random trees."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.store import merkle

# The eight leaves of the Certificate Transparency reference implementation, with their roots and proofs.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
    (6, 7): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
}


def hashed(count: int) -> list[bytes]:
    return [merkle.leaf_hash(leaf) for leaf in LEAVES[:count]]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size):
    assert merkle.root(hashed(size)).hex() == ROOTS[size]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_published_inclusion_proofs(index, size):
    path = merkle.inclusion_path(hashed(size), index)
    assert [node.hex() for node in path] == INCLUSION[index, size]
    assert merkle.verify_inclusion(hashed(size)[index], index, size, path, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new"), CONSISTENCY)
def test_published_consistency_proofs(old, new):
    path = merkle.consistency_path(hashed(new), old)
    assert [node.hex() for node in path] == CONSISTENCY[old, new]
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    assert merkle.verify_consistency(old, new, *roots, path)


def tree(size: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(size)]


def root_by_definition(leaves: list[bytes]) -> bytes:
    """MTH as RFC 9162 writes it, by recursion."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return merkle.node_hash(root_by_definition(leaves[:split]), root_by_definition(leaves[split:]))


@st.composite
def mutated(draw: st.DrawFn, path: list[bytes]) -> list[bytes]:
    """The path with one bit turned, one hash lost, one added, or two exchanged: never the path itself."""
    kinds = ["added", *(["turned", "lost"] if path else []), *(["exchanged"] if len(path) > 1 else [])]
    kind, changed = draw(st.sampled_from(kinds)), list(path)
    place = draw(st.integers(0, max(len(path) - 1, 0)))
    if kind == "turned":
        bit = draw(st.integers(0, 255))
        changed[place] = (int.from_bytes(path[place], "big") ^ 1 << bit).to_bytes(32, "big")
    elif kind == "lost":
        del changed[place]
    elif kind == "added":
        changed.insert(place, draw(st.binary(min_size=32, max_size=32)))
    else:
        other = (place + 1) % len(path)
        changed[place], changed[other] = changed[other], changed[place]
    return changed


@given(st.integers(0, 200))
def test_root_follows_the_definition(size):
    assert merkle.root(tree(size)) == root_by_definition(tree(size))


@given(st.data(), st.integers(1, 200))
def test_every_inclusion_proof_verifies_and_no_mutated_one_does(data, size):
    leaves, index = tree(size), data.draw(st.integers(0, size - 1))
    path, root = merkle.inclusion_path(leaves, index), merkle.root(leaves)
    assert merkle.verify_inclusion(leaves[index], index, size, path, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, data.draw(mutated(path)), root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, path, root)
    assert not merkle.verify_inclusion(leaves[index], index, size, path, merkle.leaf_hash(b"other"))
    other = data.draw(st.integers(-1, size).filter(lambda place: place != index))
    assert not merkle.verify_inclusion(leaves[index], other, size, path, root)


@given(st.data(), st.integers(1, 200))
def test_every_consistency_proof_verifies_and_no_mutated_one_does(data, new):
    leaves, old = tree(new), data.draw(st.integers(1, new))
    path, roots = merkle.consistency_path(leaves, old), (merkle.root(leaves[:old]), merkle.root(leaves))
    assert merkle.verify_consistency(old, new, *roots, path)
    assert not merkle.verify_consistency(old, new, *roots, data.draw(mutated(path)))
    assert not merkle.verify_consistency(old, new, merkle.leaf_hash(b"other"), roots[1], path)
    assert not merkle.verify_consistency(old, new, roots[0], merkle.leaf_hash(b"other"), path)


def test_the_empty_tree_is_the_beginning_of_every_tree():
    root = merkle.root(tree(5))
    assert merkle.verify_consistency(0, 5, merkle.EMPTY_ROOT, root, [])
    assert not merkle.verify_consistency(0, 5, root, root, [])
    assert not merkle.verify_consistency(0, 5, merkle.EMPTY_ROOT, root, [root])
    assert not merkle.verify_consistency(5, 0, root, merkle.EMPTY_ROOT, [])
    assert not merkle.verify_inclusion(root, 0, 0, [], merkle.EMPTY_ROOT)


@given(st.integers(0, 300))
def test_appending_completes_each_subtree_once(size):
    frontier, completed = merkle.Frontier(), {}
    for leaf in tree(size):
        for level, position, digest in frontier.append(leaf):
            assert (level, position) not in completed
            completed[level, position] = digest
    leaves = tree(size)
    for (level, position), digest in completed.items():
        assert digest == merkle.root(leaves[position << level : (position + 1) << level])
    assert len(completed) == 2 * size - size.bit_count()
