from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertForMaskedLM, BertModel

from tests.training.conftest import ENCODER_RECIPE, PLAN, SHAPE
from training import pretrain as pretraining
from training.masked_model import new_model
from training.packing import Packed
from training.perplexity import held_out_figures
from training.pretrain import pretrain
from training.recipe import EncoderRecipe
from training.starting_weights import set_starting_weights


def with_steps(steps: int) -> EncoderRecipe:
    return replace(ENCODER_RECIPE, pretrain=replace(PLAN, steps=steps))


def test_training_lowers_the_held_out_loss(tokenizer: Tokenizer, packed: Packed, tmp_path: Path) -> None:
    start = new_model(SHAPE, tokenizer).train(False)
    set_starting_weights(start, packed.training, ENCODER_RECIPE.seed)
    before = held_out_figures(start, tokenizer, {"calls": packed.held_out}, PLAN, ENCODER_RECIPE.seed)
    figures = pretrain(with_steps(60), tokenizer, {"calls": packed}, tmp_path)
    held = figures["held_out"]["calls"]
    assert held["loss"] < before["calls"]["loss"] - 0.5
    assert held["top1"] > before["calls"]["top1"]
    assert held["loss"] < figures["held_out_frequency"]["calls"]["loss"]
    assert held["loss"] < figures["held_out_random_weights"]["calls"]["loss"]
    assert figures["tokens_seen"] == 60 * PLAN.batch * PLAN.length
    assert 0 < figures["share_of_peak"] < 1
    assert figures["sources"]["calls"]["passes"] == pytest.approx(
        60 * PLAN.batch / len(packed.training), 0.01
    )
    encoder = BertModel.from_pretrained(tmp_path, dtype="auto")
    assert encoder.config.hidden_size == SHAPE.width
    assert encoder.dtype == torch.bfloat16
    segments = encoder.embeddings.token_type_embeddings.weight
    assert (segments[0] == segments[1]).all()


class Cut(Exception):
    """The power went."""


def test_a_run_that_was_cut_off_ends_as_if_it_had_not(
    tokenizer: Tokenizer, packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(pretraining, "_CHECKPOINT_APART", 0.0)
    whole = pretrain(ENCODER_RECIPE, tokenizer, {"calls": packed}, tmp_path / "whole")
    loss_of, calls = pretraining.masked_loss, 0

    def cut(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 10:
            raise Cut
        return loss_of(*arguments)

    with monkeypatch.context() as during:
        during.setattr(pretraining, "masked_loss", cut)
        with pytest.raises(Cut):
            pretrain(ENCODER_RECIPE, tokenizer, {"calls": packed}, tmp_path / "cut")
    resumed = pretrain(ENCODER_RECIPE, tokenizer, {"calls": packed}, tmp_path / "cut")
    assert resumed["held_out"]["calls"]["loss"] == pytest.approx(whole["held_out"]["calls"]["loss"], abs=1e-3)
    assert [step for step, _ in resumed["losses"]] == [step for step, _ in whole["losses"]]


def test_a_finished_run_can_be_made_longer(
    tokenizer: Tokenizer, packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "_CHECKPOINT_EVERY", 4)
    monkeypatch.setattr(pretraining, "_CHECKPOINT_APART", 0.0)
    pretrain(with_steps(12), tokenizer, {"calls": packed}, tmp_path)
    counted: list[object] = []
    loss_of = pretraining.masked_loss

    def count(*arguments: Any) -> Any:
        counted.append(arguments)
        return loss_of(*arguments)

    monkeypatch.setattr(pretraining, "masked_loss", count)
    pretrain(with_steps(20), tokenizer, {"calls": packed}, tmp_path)
    assert len(counted) == 20 - 8  # the rate of the first run fell after step 9


def test_a_run_can_start_from_an_encoder(
    tokenizer: Tokenizer, packed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretraining, "ROOT", tmp_path)
    first = pretrain(with_steps(60), tokenizer, {"calls": packed}, tmp_path / "first")
    plan = replace(PLAN, steps=2, learning_rate=1e-9, start="first")
    second = pretrain(
        replace(ENCODER_RECIPE, pretrain=plan), tokenizer, {"calls": packed}, tmp_path / "second"
    )
    # bf16 on disk costs a little.
    assert second["held_out"]["calls"]["loss"] == pytest.approx(first["held_out"]["calls"]["loss"], abs=0.05)
    assert (
        BertForMaskedLM.from_pretrained(tmp_path / "second").config.vocab_size == tokenizer.get_vocab_size()
    )
