from __future__ import annotations

import tomllib
from dataclasses import fields, replace

import pytest

from data.canonical import canonical_text
from data.records import Reading
from training.behaviours import CHANGES, SUITE
from training.examples import Example
from training.recipe import RewordingPlan
from training.rewording import Rewording, read_phrases

TEXT = "来电人住东街,楼上漏水三天。物业不管!请派人来看"
FIRM = Example(Reading("反映漏水", TEXT), {})
MESSAGE = replace(FIRM, real=True)


def reworded(example: Example, seed: int = 1, **shares: float) -> Reading:
    return Rewording(replace(RewordingPlan(), **shares), seed)(example)


def test_without_a_plan_the_reading_stays() -> None:
    assert reworded(FIRM) == FIRM.reading


def test_titles_are_left_out_or_stand_alone() -> None:
    assert reworded(FIRM, untitled=0.999) == Reading("", TEXT)
    assert reworded(MESSAGE, title_alone=0.999) == Reading("", "反映漏水")
    assert reworded(FIRM, title_alone=0.999) == FIRM.reading  # a person's label is of the whole text
    bare = replace(MESSAGE, reading=Reading("", TEXT))
    assert reworded(bare, title_alone=0.999).content == TEXT
    flagged, refused = replace(MESSAGE, flags=(0,)), replace(MESSAGE, labels={"verdict": 3})
    assert reworded(flagged, title_alone=0.999) == reworded(refused, title_alone=0.999) == FIRM.reading


@pytest.mark.parametrize("kind", ["opening", "courtesy", "outburst", "aside"])
def test_what_is_added_stands_around_the_matter(kind: str) -> None:
    seen = {reworded(FIRM, seed, **{kind: 0.999}).content for seed in range(30)}
    assert len(seen) > 5
    for content in seen:
        assert TEXT in content
        assert "%" not in content
        assert canonical_text(content) == content


def test_speech_is_filled_misheard_and_unpunctuated() -> None:
    filled = reworded(FIRM, fillers=0.999).content
    for filler in sorted(read_phrases().fillers, key=len, reverse=True):
        filled = filled.replace(filler, "")
    assert filled == TEXT
    misheard = {reworded(FIRM, seed, misheard=0.999).content for seed in range(20)}
    assert len(misheard - {TEXT}) > 1
    assert {len(content) for content in misheard} == {len(TEXT)}
    assert reworded(FIRM, unpunctuated=0.999).content == "来电人住东街楼上漏水三天物业不管请派人来看"


def test_the_seed_decides() -> None:
    plan = RewordingPlan(**{field.name: 0.5 for field in fields(RewordingPlan)})
    one, other = Rewording(plan, 3), Rewording(plan, 3)
    assert [one(MESSAGE) for _ in range(20)] == [other(MESSAGE) for _ in range(20)]


def test_no_phrase_is_one_that_behaviours_are_tested_with() -> None:
    phrases = read_phrases()
    cases = tomllib.loads(SUITE.read_text(encoding="utf-8"))
    tried = "".join(change.apply("") for change in CHANGES) + str(cases)
    for phrase in (*phrases.outbursts, *phrases.asides, *phrases.thanks):
        assert phrase.replace("%P", "").replace("%N", "") not in tried or len(phrase) < 4
