from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from data.records import Reading
from training.export import load_classifier
from training.finetune import Example, LabelSlices, encode, finetune, grouped_loss
from training.masked_model import new_model
from training.recipe import FinetunePlan, ShapePlan
from training.vocabulary import build_tokenizer

GROUPS = {"verdict": ("reasonable", "a", "b"), "kind": ("x", "y")}
SLICES = LabelSlices(GROUPS)
PLAN = FinetunePlan(
    epochs=40,
    batch=8,
    length=32,
    learning_rate=1e-3,
    warmup=0.1,
    dropout=0.0,
    weights={"verdict": 1.0, "kind": 0.5},
)
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


def test_slices_lie_end_to_end() -> None:
    assert dict(SLICES) == {"verdict": slice(0, 3), "kind": slice(3, 5)}
    assert SLICES.width == 5


def test_the_loss_is_the_weighted_sum_of_the_groups() -> None:
    logits = torch.tensor([[2.0, 0.0, 0.0, 0.0, 1.0]])
    batch = [Example(Reading("", ""), {"verdict": 0, "kind": 0})]
    verdict = -torch.log_softmax(torch.tensor([2.0, 0.0, 0.0]), 0)[0]
    kind = -torch.log_softmax(torch.tensor([0.0, 1.0]), 0)[0]
    loss = grouped_loss(logits, batch, SLICES, {"verdict": 1.0, "kind": 0.5})
    assert loss.item() == pytest.approx((verdict + 0.5 * kind).item())


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
