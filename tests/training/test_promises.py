from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from data.records import Prediction, Reading
from data.settings import ROOT
from data.taxonomy import Taxonomy
from tests.data.corpus.invented import order
from training.evaluate import Scored
from training.examples import Example
from training.promises import crossed, promised
from training.recipe import read_recipe

RECIPE = read_recipe(ROOT / "training" / "recipes" / "default.toml")


def prediction(p: float, ground: str, taxonomy: Taxonomy) -> Prediction:
    verdict = dict.fromkeys(taxonomy.verdicts, 0.0) | {"reasonable": 1 - p, ground: p}
    return Prediction(verdict, {}, {}, {}, truncated=False)


@pytest.fixture
def calibration(taxonomy: Taxonomy) -> Scored:
    """300 reasonable orders at 0.2, 100 unreasonable ones at 0.9."""
    told = [order(f"r{number}") for number in range(300)]
    told += [order(f"u{number}", verdict="legal_route") for number in range(100)]
    p = np.array([0.2] * 300 + [0.9] * 100)
    verdict = np.zeros((400, len(taxonomy.verdicts)))
    verdict[:, 0], verdict[:, 1] = 1 - p, p
    return Scored(told, p, {"verdict": verdict}, {}, np.zeros((400, 7)), taxonomy)


def real(p: float, taxonomy: Taxonomy, **labels: int) -> tuple[Example, Prediction]:
    example = Example(Reading("", "来信"), {"verdict": 0, **labels}, weak=True)
    return example, prediction(p, "harassment", taxonomy)


def test_real_messages_raise_the_threshold(calibration: Scored, taxonomy: Taxonomy) -> None:
    alone, _ = promised(RECIPE, calibration, [], [])
    assert 0.2 < alone["decline"]["threshold"] < 0.22
    kept = [real(0.6 if number < 20 else 0.01, taxonomy) for number in range(5600)]
    both, broken = promised(RECIPE, calibration, *zip(*kept, strict=True))
    assert 0.6 < both["decline"]["threshold"] < 0.62
    assert [promise["orders"] for promise in both["decline"]["promises"]] == [300, 5600]
    assert max(broken) <= 0.05


def test_a_message_that_a_reader_found_unreasonable_need_not_be_spared(
    calibration: Scored, taxonomy: Taxonomy
) -> None:
    kept = [real(0.01, taxonomy) for _ in range(5600)]
    found = Example(Reading("", "来信"), {"verdict": 3})
    kept += [(found, prediction(0.99, "other_organ", taxonomy))] * 40
    said, _ = promised(RECIPE, calibration, *zip(*kept, strict=True))
    assert said["decline"]["promises"][1]["orders"] == 5600
    assert said["decline"]["threshold"] < 0.22


def test_subjects_and_grounds_are_bounded_where_there_is_enough(
    calibration: Scored, taxonomy: Taxonomy
) -> None:
    health = taxonomy.groups["subject"].index("health")
    kept = [real(0.01, taxonomy, subject=health) for _ in range(400)]
    kept += [real(0.01, taxonomy) for _ in range(5200)]
    kept[0] = real(0.99, taxonomy, subject=health)
    said, _ = promised(RECIPE, calibration, *zip(*kept, strict=True))
    lines = {(line["by"], line["code"]): line for line in said["separately"]}
    assert (lines["subject", "health"]["orders"], lines["subject", "health"]["errors"]) == (400, 1)
    assert lines["subject", "urban_rural"]["orders"] == 300
    assert ("subject", "land") not in lines  # no order to count
    assert lines["ground", "harassment"]["errors"] == 1
    assert lines["ground", "legal_route"]["orders"] == 5900
    assert lines["ground", "legal_route"]["upper_bound"] < 0.001


def test_what_crosses_is_counted_on_other_orders(calibration: Scored) -> None:
    said, _ = promised(RECIPE, calibration, [], [])
    seen = crossed(said, calibration, np.array([0.1, 0.1, 0.1, 0.9]))
    assert seen is not None
    assert (seen.look_alikes, seen.found, seen.real) == (0.0, 1.0, 0.25)
    assert (seen.missed, seen.waved_through) == (0.0, 1.0)
    nobody = replace(calibration, orders=calibration.orders[:40], p_unreasonable=np.full(40, 0.2))
    none, _ = promised(RECIPE, nobody, [], [])
    assert none["decline"]["threshold"] is None
    assert none["separately"] == []
    assert crossed(none, calibration, np.zeros(0)) is None
