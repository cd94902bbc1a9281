from __future__ import annotations

from pathlib import Path

import pytest

from data.records import Reading
from data.taxonomy import Taxonomy
from models.bundle import Bundle, read_bundle
from models.rules import Rules
from tests.data.corpus.invented import order
from tests.models import tiny_bundle
from training.__main__ import main
from training.assess import assess
from training.slices import FEWEST

UNREASONABLE = "法院裁定不算数，请改判。"


@pytest.fixture
def bundle(tmp_path: Path, taxonomy: Taxonomy) -> Bundle:
    return read_bundle(
        tmp_path / "bundle", taxonomy, tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    )


def test_files_parts_thresholds_and_flags_are_told(bundle: Bundle, taxonomy: Taxonomy) -> None:
    orders = [order(f"a{number}", region="a", flags=("emergency",)) for number in range(FEWEST)]
    orders += [
        order(f"a{number + FEWEST}", region="a", content=UNREASONABLE, verdict="legal_route")
        for number in range(FEWEST)
    ]
    orders += [order("b1", region="b", content="着火了"), order("b2", region="b", flags=("emergency",))]
    real = [Reading("", "路灯坏了，请派人来修。")] * 3 + [Reading("", UNREASONABLE)]
    lines = assess(bundle, orders, real, Rules.load(taxonomy), taxonomy)
    assert lines[0] == f"tiny {bundle.digest}, {len(orders)} orders"
    # The tiny model finds everything likelier unreasonable, the truly unreasonable by far.
    assert any(line.startswith(f"| a | {2 * FEWEST} | {FEWEST} | 0.500 |") for line in lines)
    assert any(line.startswith(f"| all | {len(orders)} | {FEWEST} | 0.476 |") for line in lines)
    assert f"| region: a | {2 * FEWEST} | {FEWEST} | 1.000 | 1.000 | 0.000 | – |" in lines
    assert not any(line.startswith("| region: b") for line in lines)  # too few to say anything
    assert "| unreasonable | 100.00% | 0.00% | 0.00% |" in lines
    assert "| reasonable | 0.00% | 100.00% | 0.00% |" in lines
    assert "| real, unread | 25.00% | 75.00% | 0.00% |" in lines
    (emergency,) = (line for line in lines if line.startswith("| emergency |"))
    assert emergency.startswith(f"| emergency | {FEWEST + 1} | 0.000 | {1 / (FEWEST + 1):.1%} |")


def test_without_real_orders_that_figure_is_left_open(bundle: Bundle, taxonomy: Taxonomy) -> None:
    orders = [
        order(
            f"{verdict}{number}", verdict=verdict, content=UNREASONABLE if verdict != "reasonable" else "灯坏"
        )
        for verdict in ("reasonable", "legal_route")
        for number in range(FEWEST)
    ]
    lines = assess(bundle, orders, [], Rules.load(taxonomy), taxonomy)
    assert f"| region: north | {2 * FEWEST} | {FEWEST} | 1.000 | 1.000 | – | – |" in lines
    assert not any(line.startswith(("| real", "| all")) for line in lines)


def test_a_file_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["assess", "models/bundles/default", "--regions", "w4", "w999"]) == 1
    said = capsys.readouterr().err
    assert "regions_unknown" in said
    assert "w999" in said
    assert "w4" not in said
