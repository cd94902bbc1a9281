"""The tasks that measure an encoder, read from files that are never trained on otherwise."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.canonical import canonical_text
from data.corpus.labels import LabelledOrder
from data.errors import NotFound
from data.masking import read_text
from data.records import REASONABLE, Reading
from training.examples import Example
from training.recipe import FinetunePlan, RewordingPlan

GROUP = "label"
# The files that were there when encoders were first measured: later ones would move the figure.
AUTHORED = ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8")
_DEV_SHARE = 0.15
FEW_SHOT_SPLITS = range(5)


@dataclass(frozen=True, slots=True)
class Task:
    """One classification task; `labels` names the codes that the examples' positions mean.

    Attributes:
        unseen: which of `test` do not stand in `train` word for word; None where all are.
    """

    name: str
    labels: tuple[str, ...]
    train: tuple[Example, ...]
    test: tuple[Example, ...]
    plan: FinetunePlan
    unseen: tuple[bool, ...] | None = None


def public_tasks(folder: Path) -> Iterator[Task]:
    """ChnSentiCorp, tipdm subjects, and the five few-shot splits of tnews and csldcp.

    Raises:
        NotFound: one of their files is missing.
    """
    yield chnsenticorp(folder / "chnsenticorp")
    yield tipdm_subjects(folder / "tipdm" / "train.jsonl")
    for split in FEW_SHOT_SPLITS:
        yield few_shot(
            folder / "fewclue" / "tnews", "tnews", "sentence", "label_desc", split, _plan(40, 16, 64)
        )
    for split in FEW_SHOT_SPLITS:
        yield few_shot(folder / "fewclue" / "csldcp", "csldcp", "content", "label", split, _plan(25, 16, 192))


def chnsenticorp(folder: Path) -> Task:
    """Sentiment of hotel, laptop and book reviews; 330 of its 1,200 test texts also stand in train."""
    labels = ("0", "1")
    parts = {}
    for part in ("train", "test"):
        with _open(folder / f"{part}.tsv") as file:
            rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
        parts[part] = [_example(row["text_a"], labels.index(row["label"])) for row in rows]
    seen = {example.reading.content for example in parts["train"]}
    unseen = tuple(example.reading.content not in seen for example in parts["test"])
    return Task(
        "chnsenticorp", labels, tuple(parts["train"]), tuple(parts["test"]), _plan(4, 32, 256), unseen
    )


def tipdm_subjects(path: Path, plan: FinetunePlan | None = None) -> Task:
    """Messages to leaders in seven subjects; 15 % of the texts, copies together, are the test part here."""
    train: list[Example] = []
    test: list[Example] = []
    rows = _rows(path)
    labels = tuple(sorted({row["subject"] for row in rows}))
    for row in rows:
        reading = Reading(canonical_text(row["title"]), canonical_text(row["content"]))
        example = Example(reading, {GROUP: labels.index(row["subject"])})
        digest = hashlib.blake2b(reading.content.encode(), digest_size=8).digest()
        (test if int.from_bytes(digest) / 2**64 < _DEV_SHARE else train).append(example)
    return Task("tipdm", labels, tuple(train), tuple(test), plan or _plan(6, 32, 256))


def few_shot(folder: Path, name: str, text: str, label: str, split: int, plan: FinetunePlan) -> Task:
    """One of FewCLUE's training splits, and its whole public test set (Xu et al. 2021)."""
    train, test = (_rows(folder / f"{part}.json") for part in (f"train_{split}", "test_public"))
    labels = tuple(sorted({row[label] for row in train}))
    made = [
        tuple(_example(row[text], labels.index(row[label])) for row in rows if row[label] in labels)
        for rows in (train, test)
    ]
    return Task(f"{name}-{split}", labels, made[0], made[1], plan)


def leave_one_region_out(orders: Sequence[LabelledOrder]) -> Iterator[Task]:
    """The authored orders of `AUTHORED`, reasonable against unreasonable: each region in turn is the test."""
    orders = [order for order in orders if order.region in AUTHORED]
    regions = sorted({order.region for order in orders})
    examples = {order.id: _order_example(order) for order in orders}
    for region in regions:
        train, test = (
            tuple(examples[order.id] for order in orders if (order.region == region) == inside)
            for inside in (False, True)
        )
        yield Task(f"authored-{region}", ("reasonable", "unreasonable"), train, test, _plan(6, 32, 192))


def _order_example(order: LabelledOrder) -> Example:
    reading = read_text(order.title, order.content).reading
    return Example(reading, {GROUP: int(order.verdict != REASONABLE)}, order.pair)


def _plan(epochs: int, batch: int, length: int) -> FinetunePlan:
    """One way to fine-tune for every contender."""
    return FinetunePlan(
        epochs=epochs,
        batch=batch,
        length=length,
        learning_rate=1e-4,
        warmup=0.1,
        dropout=0.1,
        weak_share=0.0,
        weak_weight=0.0,
        weak_cap=0.0,
        pair_weight=0.0,
        pair_margin=0.0,
        weights={GROUP: 1.0},
        rewording=RewordingPlan(),
    )


def _example(text: str, label: int) -> Example:
    return Example(Reading("", canonical_text(text)), {GROUP: label})


def _rows(path: Path) -> list[dict[str, Any]]:
    with _open(path) as file:
        return [json.loads(line) for line in file if line.strip()]


def _open(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except FileNotFoundError as error:
        raise NotFound("yardstick_missing", f"没有找到评测数据 {path.parent.name}/{path.name}") from error
