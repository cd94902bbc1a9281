from __future__ import annotations

import pytest
import torch
from tokenizers import Tokenizer

from training.packing import Packed, pack
from training.recipe import (
    EncoderRecipe,
    FinetunePlan,
    PretrainPlan,
    RewordingPlan,
    ShapePlan,
    SourcePlan,
    VocabularyPlan,
)
from training.vocabulary import build_tokenizer

SENTENCES = ("来电人反映幸福路路灯坏了三天", "请有关部门尽快派人到现场维修", "咨询医保报销要哪些材料")
DOCUMENTS = [[SENTENCES[number % 3], f"第{number}号来电"] for number in range(120)]
SHAPE = ShapePlan(layers=1, width=64, heads=2, positions=64)
SOURCE = SourcePlan(tier="public domain", share=1.0, million_characters=1.0)
PLAN = PretrainPlan(
    steps=12,
    minutes=0,
    batch=4,
    length=32,
    mask_rate=0.2,
    learning_rate=3e-3,
    warmup=2,
    decay=0.25,
    held_out=0.1,
    start="",
    sources={"calls": SOURCE},
)
TUNING = FinetunePlan(
    epochs=30,
    batch=4,
    length=32,
    learning_rate=1e-3,
    warmup=0.1,
    dropout=0.0,
    weak_share=0.0,
    weak_weight=0.0,
    weak_cap=0.0,
    pair_weight=0.0,
    pair_margin=0.0,
    weights={"label": 1.0},
    rewording=RewordingPlan(),
)
ENCODER_RECIPE = EncoderRecipe("tiny", 5, VocabularyPlan(400, 1), SHAPE, PLAN)


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Test workers run side by side: threads that wait for each other across them cost most of the time."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return build_tokenizer((text for document in DOCUMENTS for text in document), 400, 1)


@pytest.fixture(scope="session")
def packed(tokenizer: Tokenizer) -> Packed:
    return pack(DOCUMENTS, tokenizer, PLAN.length, PLAN.held_out)
