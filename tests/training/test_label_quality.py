from __future__ import annotations

import pytest

from data.corpus.labels import LabelledOrder
from data.errors import BadInput
from data.taxonomy import load_taxonomy
from tests.data.corpus.invented import order
from training.label_quality import suspects

PLACES = ("东街", "西街", "南街", "北街", "河口", "山脚", "桥头", "塘边")


def orders() -> list[LabelledOrder]:
    """Four regions that agree on what a lamp and a fortune-teller are, but for one label."""
    told = [
        order(
            f"{region}{number}{verdict}",
            region=region,
            verdict=verdict,
            title=place,
            content=place + content,
        )
        for region in ("r1", "r2", "r3", "r4")
        for number, place in enumerate(PLACES)
        for verdict, content in (("reasonable", "路灯不亮要人来修"), ("public_morals", "算命先生说的要照办"))
    ]
    wrong = order("wrong", region="r2", verdict="public_morals", title="老街", content="老街路灯不亮要人来修")
    return [*told, wrong]


def test_a_label_that_other_regions_contradict_is_listed_first() -> None:
    found = suspects(orders(), "verdict", load_taxonomy(), folds=4)
    assert (found[0].id, found[0].given, found[0].suggested) == ("wrong", "public_morals", "reasonable")
    assert found[0].quality < 0.2
    assert len(found) == 1


def test_too_few_regions_are_refused() -> None:
    with pytest.raises(BadInput, match="regions_too_few"):
        suspects(orders()[:10], "verdict", load_taxonomy())
