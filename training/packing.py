"""Documents as fixed-length blocks of token ids, on disk and in memory; `training/pretrain.py` reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rjieba
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data.errors import BadInput
from training.vocabulary import CLS, SEP, piece_id

Document = list[str]  # canonical paragraphs

_GATHER = 1 << 20  # tokens turned into arrays at a time: Python integers are dear


@dataclass(frozen=True, slots=True)
class Blocks:
    """Packed token ids, (blocks, length) uint16, and whether a token opens a word, same shape, bool."""

    ids: NDArray[np.uint16]
    opens: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> Blocks:
        return Blocks(self.ids[rows], self.opens[rows])

    def parts(self, size: int) -> Iterator[Blocks]:
        """At most `size` blocks at a time, all of them."""
        for start in range(0, len(self), size):
            yield Blocks(self.ids[start : start + size], self.opens[start : start + size])

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, ids=self.ids, opens=np.packbits(self.opens, axis=1))

    @staticmethod
    def load(path: Path) -> Blocks:
        with np.load(path) as arrays:
            ids = arrays["ids"]
            opens = np.unpackbits(arrays["opens"], axis=1, count=ids.shape[1]).astype(np.bool_)
            return Blocks(ids, opens)


@dataclass(frozen=True, slots=True)
class Packed:
    """One corpus, divided: the same document is never on both sides.

    Attributes:
        training, held_out: the blocks.
        documents: how many documents went into both.
        mixed: the share of blocks that hold tokens of more than one document.
    """

    training: Blocks
    held_out: Blocks
    documents: int
    mixed: float


def pack(documents: Iterable[Document], tokenizer: Tokenizer, length: int, held_out: float) -> Packed:
    """Tokenise documents and lay them end to end in blocks `[CLS] … [SEP]` of `length` tokens.

    A paragraph ends in [SEP]. Neighbouring documents may share a block and see each other: few blocks
    hold two (`mixed` says how many; 30 % of what the shipped encoder drew), and parting them by a mask
    costs more than it gives. What is left over at the end is less than a block and is dropped. Words, for
    whole-word masking, are jieba's.

    A document is held out by its own hash, so that a copy of it cannot train.

    Raises:
        BadInput: a part has less text than one block.
    """
    training, held = _Writer(length, tokenizer), _Writer(length, tokenizer)
    count = 0
    for paragraphs in documents:
        writer = held if _fraction(paragraphs) < held_out else training
        writer.add(paragraphs)
        count += 1
    blocks = (training.blocks(), held.blocks())
    if not all(map(len, blocks)):
        raise BadInput("corpus_too_small", f"语料太少，不足一段 {length} 个记号的训练或留出文本。")
    return Packed(*blocks, documents=count, mixed=training.mixed)


def _fraction(paragraphs: Document) -> float:
    """A number in [0, 1) that follows from the text alone."""
    digest = hashlib.blake2b("\n".join(paragraphs).encode(), digest_size=8).digest()
    return int.from_bytes(digest) / 2**64


class _Writer:
    def __init__(self, length: int, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._body = length - 2
        self._cls, self._sep = piece_id(tokenizer, CLS), piece_id(tokenizer, SEP)
        self._ids: list[int] = []
        self._opens: list[bool] = []
        self._whole: list[tuple[NDArray[np.uint16], NDArray[np.bool_]]] = []
        self._ends: list[int] = []  # of documents, in tokens
        self._length = 0

    def add(self, paragraphs: Document) -> None:
        encodings = self._tokenizer.encode_batch(paragraphs, add_special_tokens=False)
        for text, encoding in zip(paragraphs, encodings, strict=True):
            starts = {start for _, start, _ in rjieba.tokenize(text)}
            self._ids += encoding.ids
            self._opens += [start in starts for start, _ in encoding.offsets]
            self._ids.append(self._sep)
            self._opens.append(True)
            self._length += len(encoding.ids) + 1
        self._ends.append(self._length)
        if len(self._ids) >= _GATHER:
            self._gather()

    def blocks(self) -> Blocks:
        self._gather()
        rows = [np.zeros((0, self._body), dtype=np.uint16), *(ids for ids, _ in self._whole)]
        marks = [np.zeros((0, self._body), dtype=np.bool_), *(opens for _, opens in self._whole)]
        body, opens = np.concatenate(rows), np.concatenate(marks)
        edge = np.ones((len(body), 1), dtype=np.uint16)
        true = edge.astype(np.bool_)
        return Blocks(np.hstack([edge * self._cls, body, edge * self._sep]), np.hstack([true, opens, true]))

    @property
    def mixed(self) -> float:
        """A document that ends inside a block, not at its last token, shares the block with the next."""
        count = self._length // self._body
        inside = {end // self._body for end in self._ends if end % self._body}
        return len(inside - {count}) / count if count else 0.0

    def _gather(self) -> None:
        count = len(self._ids) // self._body
        cut = count * self._body
        self._whole.append(
            (
                np.asarray(self._ids[:cut], dtype=np.uint16).reshape(count, self._body),
                np.asarray(self._opens[:cut], dtype=np.bool_).reshape(count, self._body),
            )
        )
        del self._ids[:cut], self._opens[:cut]


class Mixture:
    """Several corpora's training blocks, drawn from in fixed shares.

    A corpus is gone through in an order of its own, again and again: none of its blocks comes a second
    time before all have come once. What a draw gives follows from the seed and its number alone, so a
    resumed run repeats nothing, and a longer one begins as the shorter did.
    """

    def __init__(
        self, corpora: Mapping[str, Blocks], shares: Mapping[str, float], draws: int, seed: int
    ) -> None:
        names = sorted(corpora)
        edges = np.cumsum([shares[name] for name in names])
        points = np.random.default_rng(seed).random(draws) * edges[-1]
        self._source = np.searchsorted(edges, points, side="right").astype(np.uint8)
        self._row = np.zeros(draws, dtype=np.int64)
        self._blocks = [corpora[name] for name in names]
        self.passes: dict[str, float] = {}  # how often each corpus is gone through in all
        for place, name in enumerate(names):
            mine = np.flatnonzero(self._source == place)
            self._row[mine] = _rounds(len(corpora[name]), len(mine), (seed, place))
            self.passes[name] = len(mine) / len(corpora[name])

    def batch(self, step: int, size: int) -> Blocks:
        """`size` blocks: the draws from `step * size` on."""
        draws = range(step * size, (step + 1) * size)
        chosen = [(self._blocks[self._source[draw]], self._row[draw]) for draw in draws]
        return Blocks(
            np.stack([blocks.ids[row] for blocks, row in chosen]),
            np.stack([blocks.opens[row] for blocks, row in chosen]),
        )


def _rounds(size: int, count: int, seed: tuple[int, int]) -> NDArray[np.int64]:
    """The first `count` places of an endless walk through `size` items, shuffled anew on every round."""
    random = np.random.default_rng(seed)
    turns = [random.permutation(size) for _ in range(-(-count // size))]
    return np.concatenate([np.zeros(0, dtype=np.int64), *turns])[:count]
