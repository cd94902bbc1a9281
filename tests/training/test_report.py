from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.taxonomy import Taxonomy
from tests.data.corpus.invented import order
from tests.training.test_card import facts
from training.card import write_card
from training.evaluate import Scored
from training.plots import Costs, draw_plots
from training.report import write_report


@pytest.fixture
def scored(taxonomy: Taxonomy) -> Scored:
    """Twelve orders, two of them judged wrongly, with grounds as sure as their verdicts."""
    random = np.random.default_rng(1)
    told = [
        order(
            f"x{number}", verdict="legal_route" if number % 2 else "reasonable", content=f"<b>{number}号</b>"
        )
        for number in range(12)
    ]
    p = np.array([0.9 if each.unreasonable else 0.1 for each in told])
    p[0], p[1] = 0.97, 0.03
    groups = {
        name: random.dirichlet(np.ones(len(codes)), len(told)) for name, codes in taxonomy.groups.items()
    }
    flags = np.zeros((len(told), len(taxonomy.flag_codes)))
    return Scored(told, p, groups, groups, flags, taxonomy)


def test_the_page_holds_card_pictures_and_the_worst_errors(
    scored: Scored, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    costs = Costs(scored.p_unreasonable, np.linspace(0, 0.5, 50))
    draw_plots(scored, tmp_path, taxonomy, costs, Costs(1 - scored.p_unreasonable, costs.real))
    drawn = {path.name for path in tmp_path.iterdir() if path.stat().st_size > 5000}
    assert drawn == {
        "reliability.png", "risk_coverage.png", "flags.png",
        "confusion_verdict.png", "confusion_kind.png", "confusion_subject.png",
    }  # fmt: skip
    page = write_report(write_card(facts()), scored, tmp_path)
    assert "<td>verdict AUC</td>" in page
    assert page.count("data:image/png;base64,") == len(drawn)
    assert "<h3>Reasonable, held unreasonable: 1 of 6</h3>" in page
    assert "<tr><td>x0<td>0.970<td>路灯不亮 | &lt;b&gt;0号&lt;/b&gt;<td>reasonable" in page
    assert "<h3>Unreasonable, held reasonable: 1 of 6</h3>" in page
    assert "<b>" not in page
    assert "<script" not in page


def test_without_real_orders_their_curve_is_empty(scored: Scored, taxonomy: Taxonomy, tmp_path: Path) -> None:
    draw_plots(scored, tmp_path, taxonomy, Costs(scored.p_unreasonable, np.zeros(0)))
    assert (tmp_path / "flags.png").stat().st_size > 5000
