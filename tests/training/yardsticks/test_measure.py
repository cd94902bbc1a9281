from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from numpy import array
from tokenizers import Tokenizer

from data.records import Reading
from tests.training.conftest import SENTENCES, SHAPE, TUNING
from training.encoder_card import write_encoder_card
from training.examples import Example
from training.masked_model import new_model
from training.vocabulary import save_tokenizer
from training.yardsticks import measure as measuring
from training.yardsticks.contenders import contenders
from training.yardsticks.measure import measure, pairs_ordered
from training.yardsticks.tasks import GROUP, Task

PLAN = replace(TUNING, weights={GROUP: 1.0})
EXAMPLES = tuple(
    Example(Reading("", f"{text}，{number}号"), {GROUP: label}, pair=f"p{number}")
    for number in range(6)
    for label, text in enumerate(SENTENCES[:2])
)
TASK = Task("authored-toy", ("reasonable", "unreasonable"), EXAMPLES[:8], EXAMPLES[8:], PLAN)


@pytest.fixture
def encoder(tokenizer: Tokenizer, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    new_model(SHAPE, tokenizer).save_pretrained(tmp_path / "encoder")
    save_tokenizer(tokenizer, tmp_path / "encoder")
    return tmp_path / "encoder"


def test_every_contender_learns_what_is_plain(encoder: Path) -> None:
    cells = measure(encoder, [TASK], seeds=1)
    assert set(cells) == {f"authored-toy | {name} | 0" for name in contenders(encoder)}
    for cell in cells.values():
        assert cell["accuracy"] == cell["auc"] == cell["pairs_ordered"] == 1.0
        assert cell["pairs"] == 2


def test_what_is_measured_stays_measured(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = measure(encoder, [TASK], seeds=1, only=["TF-IDF + linear"])
    monkeypatch.setattr(measuring, "_cell", lambda *_: pytest.fail("measured twice"))
    assert measure(encoder, [TASK], seeds=1, only=["TF-IDF + linear"]) == done


def test_changed_weights_are_measured_anew(encoder: Path, tokenizer: Tokenizer) -> None:
    quick = replace(TASK, plan=replace(PLAN, epochs=1))
    measure(encoder, [quick], seeds=1)
    torch.manual_seed(7)
    new_model(SHAPE, tokenizer).save_pretrained(encoder)
    cells = measure(encoder, [], seeds=1)
    assert set(cells) == {"authored-toy | TF-IDF + linear | 0"}  # random weights were of the old shape


def test_seeds_are_for_tasks_with_one_split(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_cell", lambda *_: {"accuracy": 0.5})
    cells = measure(encoder, [replace(TASK, name="chnsenticorp"), replace(TASK, name="tnews-0")], seeds=3)
    assert sum(name.startswith("chnsenticorp | encoder") for name in cells) == 3
    assert sum(name.startswith("chnsenticorp | TF-IDF") for name in cells) == 1
    assert sum(name.startswith("tnews-0 | encoder") for name in cells) == 1


def test_twins_are_compared_and_ties_count_half() -> None:
    pairs = [Example(Reading("", ""), {GROUP: label}, pair=pair) for pair in "abcd" for label in (0, 1)]
    alone = Example(Reading("", ""), {GROUP: 1}, pair="e")
    task = replace(TASK, test=(*pairs, alone))
    score = array([0.1, 0.2, 0.3, 0.1, 0.4, 0.4, 0.0, 0.9, 0.9])
    truth = array([0, 1] * 4 + [1])
    assert pairs_ordered(task, score, truth) == {"pairs_ordered": 2.5 / 4, "pairs": 4}


def test_the_card_shows_means_and_spreads(encoder: Path) -> None:
    cells = {f"chnsenticorp | encoder | {seed}": {"accuracy": 0.9 + seed / 50} for seed in range(3)}
    (encoder / "yardsticks.json").write_text(json.dumps({"encoder": "", "cells": cells}), encoding="utf-8")
    figures = {
        "parameters": 1, "steps": 1, "tokens_seen": 1, "seconds": 1, "tokens_per_second": 1,
        "share_of_peak": 0.5, "peak_gflops": 1, "hardware": "a CPU",
        "unknown": {}, "sources": {}, "held_out": {},
        "recipe": {
            "name": "tiny", "shape": {"layers": 1, "width": 64},
            "pretrain": {"batch": 1, "length": 1, "mask_rate": 0.2, "start": "", "sources": {}},
        },
    }  # fmt: skip
    (encoder / "pretraining.json").write_text(json.dumps(figures), encoding="utf-8")
    card = write_encoder_card(encoder)
    assert "accuracy | 0.920 ± 0.016 (3) | – | – | BERT-base 0.947 |" in card
