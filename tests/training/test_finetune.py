from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from data.records import Reading
from tests.training.conftest import TUNING
from training.examples import Example, LabelSlices
from training.export import load_classifier
from training.finetune import encode, finetune
from training.masked_model import new_model
from training.recipe import ShapePlan
from training.vocabulary import build_tokenizer

GROUPS = {"verdict": ("reasonable", "a", "b"), "kind": ("x", "y")}
SLICES = LabelSlices(GROUPS)
PLAN = replace(TUNING, epochs=40, batch=8, weights={"verdict": 1.0, "kind": 0.5})
TEXTS = {"路灯坏了": (0, 0), "法院判错": (1, 1), "算命不准": (2, 1)}
EXAMPLES = [
    Example(Reading("标题", text), {"verdict": verdict, "kind": kind}, pair=text)
    for text, (verdict, kind) in TEXTS.items()
    for _ in range(8)
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return build_tokenizer([*TEXTS, "标题"], 300, 1)


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    new_model(ShapePlan(layers=1, width=64, heads=1, positions=64), tokenizer).save_pretrained(folder)
    return folder


def test_texts_are_cut_and_padded(tokenizer: Tokenizer) -> None:
    batch = encode(tokenizer, [Reading("标", "路"), Reading("标题", "灯" * 50)], 16)
    assert batch["input_ids"].shape == (2, 16)
    assert batch["attention_mask"].sum(1).tolist() == [5, 16]
    assert batch["token_type_ids"][0, :6].tolist() == [0, 0, 0, 1, 1, 0]


def test_a_classifier_learns_the_labels(tokenizer: Tokenizer, encoder: Path, tmp_path: Path) -> None:
    figures = finetune(PLAN, encoder, tokenizer, EXAMPLES, SLICES, tmp_path, seed=2)
    assert figures["steps"] == PLAN.epochs * 3
    assert figures["losses"][-1][1] < figures["losses"][0][1] / 2
    model = load_classifier(tmp_path)
    names = ["verdict:reasonable", "verdict:a", "verdict:b", "kind:x", "kind:y"]
    assert model.config.id2label == dict(enumerate(names))
    readings = [Reading("标题", text) for text in TEXTS]
    with torch.no_grad():
        logits = model(**encode(tokenizer, readings, PLAN.length)).logits
    assert logits[:, :3].argmax(1).tolist() == [verdict for verdict, _ in TEXTS.values()]
    assert logits[:, 3:].argmax(1).tolist() == [kind for _, kind in TEXTS.values()]


def test_the_same_seed_gives_the_same_model(tokenizer: Tokenizer, encoder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        finetune(PLAN, encoder, tokenizer, EXAMPLES[:8], SLICES, tmp_path / name, seed=2)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
