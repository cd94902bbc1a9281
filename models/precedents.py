"""The labelled orders that are most like a new one, on either side; reviewers see them beside a decision.

`models/triage.py` asks for them, `training/precedents.py` makes them. Alike is what the encoder finds alike:
its state of one text against those of the orders that trained it.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.array_archive import archive

_ARRAYS = ("centre", "projection", "vectors", "unreasonable")
_ORDERS = "orders.jsonl"
_LONGEST = 127.0  # of a vector in int8


@dataclass(frozen=True, slots=True)
class Precedent:
    """One labelled order, invented for training, and how like the new one it is.

    Attributes:
        verdict: `reasonable` or a ground.
        why: the fact in it that decides.
        similarity: cosine, at most 1.
    """

    id: str
    title: str
    content: str
    verdict: str
    why: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Nearest:
    """The most alike on either side, most alike first."""

    reasonable: tuple[Precedent, ...] = ()
    unreasonable: tuple[Precedent, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Precedents:
    """Labelled orders by the direction of their encoder states; safe to use from several threads at once.

    Attributes:
        centre: (width,), the mean state.
        projection: (width, dimensions), from a centred state to what is compared.
        vectors: (orders, dimensions), int8, each of about the same length.
        unreasonable: (orders,).
        orders: what `deflated` makes; they are read when somebody asks.
    """

    centre: NDArray[np.float32]
    projection: NDArray[np.float32]
    vectors: NDArray[np.int8]
    unreasonable: NDArray[np.bool_]
    orders: bytes

    def nearest(self, state: NDArray[np.float32], count: int) -> Nearest:
        """Up to `count` on either side.

        Args:
            state: (width,), of the text in question.
        """
        vector = directions(state[np.newaxis], self.centre, self.projection)[0]
        similarities = np.clip((self.vectors @ vector) / _LONGEST, -1.0, 1.0)
        lines = _inflated(self.orders)
        sides = []
        for side in (False, True):
            places = np.flatnonzero(self.unreasonable == side)
            best = places[np.argsort(-similarities[places], kind="stable")[:count]]
            sides.append(tuple(_precedent(lines[place], float(similarities[place])) for place in best))
        return Nearest(*sides)

    def content(self) -> bytes:
        """The bytes that `read_precedents` reads; equal ones have equal bytes."""
        return archive({name: getattr(self, name) for name in _ARRAYS}, {_ORDERS: self.orders})


def read_precedents(content: bytes) -> Precedents:
    """The precedents in these bytes.

    Raises:
        ValueError: they are none, or their parts do not fit each other.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as stored:
            orders = stored.read(_ORDERS)
            centre, projection, vectors, unreasonable = (
                np.lib.format.read_array(io.BytesIO(stored.read(f"{name}.npy")), allow_pickle=False)
                for name in _ARRAYS
            )
        count = len(_inflated(orders))
    except (zipfile.BadZipFile, zlib.error, KeyError, EOFError, OSError, ValueError) as error:
        raise ValueError("no precedents") from error
    arrays = (centre, projection, vectors, unreasonable)
    if [array.dtype for array in arrays] != [np.float32, np.float32, np.int8, np.bool_]:
        raise ValueError("precedents of other numbers")
    expected = [(*centre.shape, vectors.shape[-1]), (count, vectors.shape[-1]), (count,)]
    if centre.ndim != 1 or [each.shape for each in (projection, vectors, unreasonable)] != expected:
        raise ValueError("precedents of other shapes")
    return Precedents(centre, projection, vectors, unreasonable, orders)


def directions(
    states: NDArray[np.float32], centre: NDArray[np.float32], projection: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(texts, dimensions) unit vectors from (texts, width) states; zero for a state at the centre."""
    projected = (states - centre) @ projection
    lengths = np.linalg.norm(projected, axis=1, keepdims=True)
    found: NDArray[np.float32] = (projected / np.maximum(lengths, 1e-12)).astype(np.float32)
    return found


def packed(vectors: NDArray[np.float32]) -> NDArray[np.int8]:
    """Vectors of length one in a quarter of the room; a similarity is off by less than one hundredth."""
    found: NDArray[np.int8] = np.rint(vectors * _LONGEST).astype(np.int8)
    return found


def deflated(orders: Iterable[Precedent]) -> bytes:
    """Orders in the form that `Precedents` keeps; their similarity is not."""
    lines = (
        json.dumps([each.id, each.title, each.content, each.verdict, each.why], ensure_ascii=False)
        for each in orders
    )
    return zlib.compress("\n".join(lines).encode(), 9)


def _inflated(orders: bytes) -> list[bytes]:
    return zlib.decompress(orders).split(b"\n")


def _precedent(line: bytes, similarity: float) -> Precedent:
    id_, title, content, verdict, why = json.loads(line)
    return Precedent(id_, title, content, verdict, why, similarity)
