from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from data.errors import BadInput
from tests.training.conftest import DOCUMENTS, PLAN
from training import packing
from training.packing import Blocks, Mixture, Packed, pack
from training.vocabulary import CLS, SEP, piece_id


def numbered(count: int, start: int = 0) -> Blocks:
    """Blocks of two tokens that say which they are."""
    ids = np.arange(start, start + count, dtype=np.uint16).repeat(2).reshape(count, 2)
    return Blocks(ids, np.ones((count, 2), dtype=np.bool_))


def test_blocks_are_full_and_framed(tokenizer: Tokenizer, packed: Packed) -> None:
    for blocks in (packed.training, packed.held_out):
        assert blocks.ids.shape == blocks.opens.shape == (len(blocks), PLAN.length)
        assert (blocks.ids[:, 0] == piece_id(tokenizer, CLS)).all()
        assert (blocks.ids[:, -1] == piece_id(tokenizer, SEP)).all()
    assert packed.documents == len(DOCUMENTS)


def test_no_token_is_lost_but_the_last_few(tokenizer: Tokenizer, packed: Packed) -> None:
    tokens = sum(
        len(tokenizer.encode(text, add_special_tokens=False).ids) + 1
        for document in DOCUMENTS
        for text in document
    )
    body = PLAN.length - 2
    kept = (len(packed.training) + len(packed.held_out)) * body
    assert tokens - 2 * body < kept <= tokens


def test_gathering_in_pieces_changes_nothing(
    tokenizer: Tokenizer, packed: Packed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_GATHER", 50)
    again = pack(DOCUMENTS, tokenizer, PLAN.length, PLAN.held_out)
    assert (again.training.ids == packed.training.ids).all()
    assert (again.training.opens == packed.training.opens).all()


def test_a_document_and_its_copies_are_on_one_side(tokenizer: Tokenizer) -> None:
    marked = [["记号甲" * 20], *DOCUMENTS]
    once, often = (pack(marked[:1] * copies + marked[1:], tokenizer, 32, 0.1) for copies in (1, 30))
    grown = [len(b) > len(a) for a, b in ((once.training, often.training), (once.held_out, often.held_out))]
    assert sorted(grown) == [False, True]


def test_the_share_of_mixed_blocks_is_counted(tokenizer: Tokenizer) -> None:
    body = 8
    exact = [[f"路灯{number}号坏"] for number in range(100, 200)]  # seven tokens and [SEP]: one block each
    assert pack(exact, tokenizer, body + 2, 0.3).mixed == 0.0
    longer = [[f"路灯{number}号坏了三天"] for number in range(100, 200)]
    assert pack(longer, tokenizer, body + 2, 0.3).mixed > 0.3


def test_too_little_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(BadInput, match="corpus_too_small"):
        pack(DOCUMENTS[:2], tokenizer, 32, 0.1)


def test_blocks_come_back_from_disk(packed: Packed, tmp_path: Path) -> None:
    packed.training.save(tmp_path / "blocks.npz")
    back = Blocks.load(tmp_path / "blocks.npz")
    assert (back.ids == packed.training.ids).all()
    assert (back.opens == packed.training.opens).all()


def test_every_block_comes_once_before_any_comes_twice() -> None:
    mixture = Mixture({"a": numbered(10), "b": numbered(7, 100)}, {"a": 1.0, "b": 1.0}, 400, seed=3)
    drawn = np.concatenate([mixture.batch(step, 4).ids[:, 0] for step in range(100)])
    first = drawn[drawn < 100]
    rounds = len(first) // 10
    assert rounds > 10
    for turn in range(rounds):
        assert sorted(first[turn * 10 : turn * 10 + 10]) == list(range(10))
    assert mixture.passes == {"a": len(first) / 10, "b": (400 - len(first)) / 7}


def test_shares_are_kept_whatever_they_sum_to() -> None:
    mixture = Mixture({"a": numbered(10), "b": numbered(10, 100)}, {"a": 0.6, "b": 0.2}, 4000, seed=3)
    drawn = np.concatenate([mixture.batch(step, 40).ids[:, 0] for step in range(100)])
    assert (drawn < 100).mean() == pytest.approx(0.75, abs=0.03)


def test_a_longer_run_begins_as_the_shorter_did() -> None:
    corpora, shares = {"a": numbered(10), "b": numbered(7, 100)}, {"a": 0.3, "b": 0.7}
    short, long = (Mixture(corpora, shares, draws, seed=3) for draws in (40, 400))
    for step in range(10):
        assert (short.batch(step, 4).ids == long.batch(step, 4).ids).all()
