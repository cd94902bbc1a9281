from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer

from data.records import Reading
from tests.training.conftest import TUNING
from training import finetune as finetuning
from training.classifier import PooledClassifier
from training.examples import Example, LabelSlices
from training.export import load_classifier
from training.finetune import encode, finetune, train_member
from training.masked_model import new_model
from training.recipe import RehearsalPlan, ShapePlan
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
    widths = [encode(tokenizer, [Reading("标", "路")], 16, to)["input_ids"].shape[1] for to in (1, 8, 32)]
    assert widths == [5, 8, 16]


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


def test_muon_learns_them_too(tokenizer: Tokenizer, encoder: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, optimizer="muon")
    losses = finetune(plan, encoder, tokenizer, EXAMPLES, SLICES, tmp_path, seed=2)["losses"]
    assert losses[-1][1] < losses[0][1] / 2


def test_frozen_layers_stay_as_they_were_and_the_head_learns(tokenizer: Tokenizer, encoder: Path) -> None:
    before = PooledClassifier.from_pretrained(encoder, num_labels=SLICES.width, dtype=torch.float32)
    for optimizer in ("adamw", "muon"):
        plan = replace(PLAN, frozen=1, optimizer=optimizer)
        after, losses = train_member(plan, encoder, tokenizer, EXAMPLES, SLICES, 2)
        for name, weight in before.bert.state_dict().items():
            torch.testing.assert_close(after.bert.state_dict()[name], weight, atol=0.0, rtol=0.0)
        assert losses[-1][1] < losses[0][1]


def test_what_was_learned_before_is_seen_in_its_share(
    tokenizer: Tokenizer, encoder: Path, tmp_path: Path
) -> None:
    examples = [replace(example, pair=None, learned=number < 16) for number, example in enumerate(EXAMPLES)]
    plan = replace(PLAN, epochs=2, rehearsal=RehearsalPlan(("w1",), 0.5))
    figures = finetune(plan, encoder, tokenizer, examples, SLICES, tmp_path, seed=2)
    assert figures["steps"] == 2 * 2  # eight new and eight of sixteen old, eight at a time


def test_of_several_members_the_mean_is_kept(tokenizer: Tokenizer, encoder: Path, tmp_path: Path) -> None:
    plan = replace(PLAN, epochs=2, members=2)
    finetune(plan, encoder, tokenizer, EXAMPLES, SLICES, tmp_path, seed=2)
    members = [
        train_member(plan, encoder, tokenizer, EXAMPLES, SLICES, 2, number)[0].classifier.weight
        for number in range(2)
    ]
    assert not torch.equal(*members)
    kept = load_classifier(tmp_path).classifier.weight
    torch.testing.assert_close(kept, torch.stack(members).mean(0), atol=0.0, rtol=2**-8)  # bf16


def test_a_training_that_was_cut_off_ends_as_an_uncut_one(
    tokenizer: Tokenizer, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(PLAN, epochs=3, rewording=replace(PLAN.rewording, untitled=0.5))
    finetune(plan, encoder, tokenizer, EXAMPLES, SLICES, tmp_path / "uncut", seed=2)
    calls = iter(range(7))  # three a epoch: cut off in the third

    def cut_off(*given: Any) -> dict[str, torch.Tensor]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return encode(*given)

    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "encode", cut_off)
        with pytest.raises(KeyboardInterrupt):
            finetune(plan, encoder, tokenizer, EXAMPLES, SLICES, tmp_path / "cut", seed=2)
    figures = finetune(plan, encoder, tokenizer, EXAMPLES, SLICES, tmp_path / "cut", seed=2)
    assert figures["steps"] == 9
    files = ("finetuning.json", "model.safetensors")
    one, other = ([(tmp_path / name / file).read_bytes() for file in files] for name in ("cut", "uncut"))
    assert one == other
    assert not list((tmp_path / "cut").glob("member-*"))


def test_the_same_seed_gives_the_same_model(tokenizer: Tokenizer, encoder: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        finetune(PLAN, encoder, tokenizer, EXAMPLES[:8], SLICES, tmp_path / name, seed=2)
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("one", "two")]
    assert weights[0] == weights[1]
