"""What a model must be able to do, capability by capability; `training/run.py` and the gate call it.

After CheckList (Ribeiro et al. 2020): minimum functionality on hand-written twins, invariance under changes
that mean nothing, direction under changes that decide.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from data.errors import BadInput
from data.masking import read_text
from data.taxonomy import Taxonomy
from models.classifier import Classifier
from training.evaluate import predictions

SUITE = Path(__file__).resolve().parent / "reference" / "behaviours.toml"

# P(unreasonable) of each (title, content), by whatever is tested: a classifier, or the whole path.
Judge = Callable[[Sequence[tuple[str, str]]], Sequence[float]]

_COLLOQUIAL = {
    "什么": "啥",
    "怎么": "咋个",
    "没有": "没得",
    "不知道": "晓不得",
    "孩子": "娃儿",
    "这里": "这点",
    "聊天": "摆龙门阵",
}
# What speech recognition confuses: the same sound, another character.
_HOMOPHONES = str.maketrans("的在是已做他请业", "得再事以作她清叶")
_PUNCTUATION = re.compile(r"[，。；、：！？,.;:!?“”\"（）()《》]")
_CLAUSE = re.compile(r"(?<=[，。！？])")
_FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
_OTHER_GENDER = str.maketrans("他她", "她他")


@dataclass(frozen=True, slots=True)
class Change:
    """A rewriting that must not move the verdict; an `exact` one must not move the score at all."""

    name: str
    apply: Callable[[str], str]
    exact: bool = False


CHANGES = (
    Change("full-width letters and digits", lambda text: text.translate(_FULL_WIDTH), exact=True),
    Change("zero-width characters", "\u200b".join, exact=True),
    Change("no punctuation", lambda text: _PUNCTUATION.sub("", text)),
    Change("politeness", lambda text: f"您好，麻烦您了。{text}谢谢，辛苦了。"),
    Change("swearing", lambda text: f"真他妈的烦。{text}"),
    Change("filler words", lambda text: _CLAUSE.sub("嗯，那个，", f"喂，{text}", count=3)),
    Change("homophones", lambda text: text.translate(_HOMOPHONES)),
    Change("dialect words", lambda text: _replaced(text, _COLLOQUIAL)),
    Change("an operator's opening", lambda text: f"来电人反映：{text}"),
    Change("a name", lambda text: f"我姓欧阳，{text}"),
    Change("a place", lambda text: f"我住在河口镇柳树屯。{text}"),
    Change("coming from elsewhere", lambda text: f"我是外地来打工的。{text}"),
    Change("the other gender", lambda text: _replaced(text, {"先生": "女士"}).translate(_OTHER_GENDER)),
)


@dataclass(frozen=True, slots=True)
class Capability:
    """One row of the table: how many cases of a capability failed."""

    kind: str
    name: str
    cases: int
    failures: int

    @property
    def rate(self) -> float:
        return self.failures / self.cases if self.cases else 0.0


@dataclass(frozen=True, slots=True)
class Twin:
    """Two texts that one fact sets apart."""

    ground: str
    unreasonable: str
    reasonable: str


@dataclass(frozen=True, slots=True)
class Direction:
    """Two texts and which way P(unreasonable) must go from the first to the second."""

    what: str
    before: str
    after: str
    up: bool


@dataclass(frozen=True, slots=True)
class Suite:
    """The hand-written cases."""

    twins: tuple[Twin, ...]
    directions: tuple[Direction, ...]


def read_suite(taxonomy: Taxonomy, path: Path = SUITE) -> Suite:
    """Read the cases.

    Raises:
        BadInput: a case is malformed, or names a ground that the taxonomy lacks.
    """
    try:
        cases = tomllib.loads(path.read_text(encoding="utf-8"))
        twins = tuple(Twin(**case) for case in cases["twin"])
        directions = tuple(
            Direction(case["what"], case["from"], case["into"], {"up": True, "down": False}[case["to"]])
            for case in cases["change"]
        )
    except (KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise BadInput("behaviours_invalid", "行为测试文件有误。") from error
    if not {twin.ground for twin in twins} <= set(taxonomy.verdicts[1:]):
        raise BadInput("behaviours_invalid", "行为测试用了分类表之外的理由。")
    return Suite(twins, directions)


def run_suite(judge: Judge, suite: Suite, orders: Sequence[tuple[str, str]]) -> list[Capability]:
    """Every capability's failures.

    A twin fails on each of its two halves that is judged wrongly at one half, and a pair whose order is
    wrong fails once more under "twins in order". An order fails an invariance when its verdict flips, or
    for an exact one when its score moves at all.

    Args:
        orders: (title, content) of real or authored orders, which the invariances are tried on.
    """
    return [*_functionality(judge, suite.twins), *_directions(judge, suite), *_invariances(judge, orders)]


def _functionality(judge: Judge, twins: Sequence[Twin]) -> Iterator[Capability]:
    texts = [("", text) for twin in twins for text in (twin.unreasonable, twin.reasonable)]
    scores = np.array(judge(texts)).reshape(-1, 2)
    wrong = np.stack([scores[:, 0] < 0.5, scores[:, 1] >= 0.5], axis=1)
    grounds = np.array([twin.ground for twin in twins])
    for ground in dict.fromkeys(grounds):
        rows = wrong[grounds == ground]
        yield Capability("functionality", str(ground), rows.size, int(rows.sum()))
    yield Capability(
        "functionality", "twins in order", len(scores), int((scores[:, 0] <= scores[:, 1]).sum())
    )


def _directions(judge: Judge, suite: Suite) -> Iterator[Capability]:
    texts = [("", text) for case in suite.directions for text in (case.before, case.after)]
    scores = np.array(judge(texts)).reshape(-1, 2)
    for case, (before, after) in zip(suite.directions, scores, strict=True):
        right = after > before if case.up else after < before
        yield Capability("direction", case.what, 1, int(not right))


def _invariances(judge: Judge, orders: Sequence[tuple[str, str]]) -> Iterator[Capability]:
    plain = np.array(judge(orders))
    for change in CHANGES:
        rows = [row for row, (_, content) in enumerate(orders) if change.apply(content) != content]
        changed = np.array(judge([(orders[row][0], change.apply(orders[row][1])) for row in rows]))
        moved = changed != plain[rows] if change.exact else (changed >= 0.5) != (plain[rows] >= 0.5)
        yield Capability("invariance", change.name, len(rows), int(np.sum(moved)))


def judge_of(classifier: Classifier) -> Judge:
    """Judges by a classifier what service would let it read."""

    def judge(texts: Sequence[tuple[str, str]]) -> list[float]:
        readings = [read_text(title, content).reading for title, content in texts]
        return [prediction.p_unreasonable for prediction in predictions(classifier, readings)]

    return judge


def table(capabilities: Sequence[Capability]) -> list[str]:
    """Rows of a Markdown table."""
    head = ["| kind | capability | cases | failures | rate |", "|---|---|---|---|---|"]
    rows = (
        f"| {each.kind} | {each.name} | {each.cases} | {each.failures} | {each.rate:.1%} |"
        for each in capabilities
    )
    return list(chain(head, rows))


def _replaced(text: str, words: dict[str, str]) -> str:
    for word, other in words.items():
        text = text.replace(word, other)
    return text
