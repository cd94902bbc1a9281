from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertModel

from training import pretrain as pretraining
from training.pretrain import Blocks, WholeWordMasker, masked_loss, new_model, pack, pretrain
from training.recipe import EncoderPlan, PretrainPlan
from training.vocabulary import CLS, MASK, SEP, build_tokenizer, piece_id

SENTENCES = ["来电人反映幸福路路灯坏了三天", "请有关部门尽快派人到现场维修", "咨询医保报销要哪些材料"] * 40
PLAN = PretrainPlan(
    steps=12, batch=4, length=32, mask_rate=0.15, learning_rate=3e-3, warmup=0.1, held_out=0.1, sources={}
)
SHAPE = EncoderPlan(layers=1, width=64, heads=1, positions=64)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer(SENTENCES, 400, 1)


@pytest.fixture(scope="module")
def blocks(tokenizer: Tokenizer) -> Blocks:
    return pack(SENTENCES, tokenizer, PLAN.length)


def test_blocks_are_full_and_framed(tokenizer: Tokenizer, blocks: Blocks) -> None:
    assert blocks.ids.shape == blocks.opens.shape == (len(blocks), PLAN.length)
    assert (blocks.ids[:, 0] == piece_id(tokenizer, CLS)).all()
    assert (blocks.ids[:, -1] == piece_id(tokenizer, SEP)).all()
    characters = sum(map(len, SENTENCES)) + len(SENTENCES)
    assert len(blocks) == characters // (PLAN.length - 2)


def test_words_are_hidden_whole(tokenizer: Tokenizer) -> None:
    blocks = pack(["路灯坏了"] * 300, tokenizer, 32)
    _, targets = WholeWordMasker(tokenizer, 0.3, seed=1)(blocks)
    chosen = (targets != -100).numpy()
    word = np.cumsum(blocks.opens, axis=1)
    for row in range(len(blocks)):
        for number in np.unique(word[row]):
            inside = chosen[row][word[row] == number]
            assert inside.all() or not inside.any()
    assert (~blocks.opens).any()  # jieba found words of more than one character


def test_the_rate_and_the_three_fates_are_as_said(tokenizer: Tokenizer, blocks: Blocks) -> None:
    many = Blocks(np.tile(blocks.ids, (30, 1)), np.tile(blocks.opens, (30, 1)))
    inputs, targets = WholeWordMasker(tokenizer, 0.15, seed=3)(many)
    hidden = targets != -100
    framed = torch.from_numpy(np.isin(many.ids, [piece_id(tokenizer, CLS), piece_id(tokenizer, SEP)]))
    assert not (hidden & framed).any()
    assert hidden[~framed].float().mean().item() == pytest.approx(0.15, abs=0.02)
    masked = (inputs == piece_id(tokenizer, MASK)) & hidden
    assert masked.sum().item() / hidden.sum().item() == pytest.approx(0.8, abs=0.02)
    kept = (inputs == targets) & hidden
    assert kept.sum().item() / hidden.sum().item() == pytest.approx(0.1, abs=0.02)
    assert (inputs == torch.from_numpy(many.ids.astype(np.int64)))[~hidden].all()


def test_training_lowers_the_held_out_loss(tokenizer: Tokenizer, blocks: Blocks, tmp_path: Path) -> None:
    torch.manual_seed(0)
    untrained = new_model(SHAPE, tokenizer).train(False)
    _, held_out = blocks.split(PLAN.held_out, 5)
    with torch.no_grad():
        before, _ = masked_loss(untrained, *WholeWordMasker(tokenizer, 0.15, 5)(held_out))
    figures = pretrain(replace(PLAN, steps=60), SHAPE, tokenizer, blocks, tmp_path, seed=5)
    assert figures["held_out_loss"] < before.item() - 0.5
    assert figures["held_out_perplexity"] == pytest.approx(np.exp(figures["held_out_loss"]))
    assert BertModel.from_pretrained(tmp_path).config.hidden_size == SHAPE.width


class Cut(Exception):
    """The power went."""


def test_a_run_that_was_cut_off_ends_as_if_it_had_not(
    tokenizer: Tokenizer, blocks: Blocks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_CHECKPOINT_EVERY", 4)
    calm = replace(SHAPE)
    whole = pretrain(PLAN, calm, tokenizer, blocks, tmp_path / "whole", seed=9)
    batch_of = pretraining._batch

    def cut(*arguments: object) -> object:
        if arguments[-1] == 9:
            raise Cut
        return batch_of(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as during:
        during.setattr(pretraining, "_batch", cut)
        with pytest.raises(Cut):
            pretrain(PLAN, calm, tokenizer, blocks, tmp_path / "cut", seed=9)
    assert (tmp_path / "cut" / "checkpoint.pt").exists()
    resumed = pretrain(PLAN, calm, tokenizer, blocks, tmp_path / "cut", seed=9)
    assert not (tmp_path / "cut" / "checkpoint.pt").exists()
    # Dropout draws from a generator that a checkpoint does not carry, so only the course is the same.
    assert resumed["held_out_loss"] == pytest.approx(whole["held_out_loss"], rel=0.05)
    assert resumed["tokens_seen"] == whole["tokens_seen"]
