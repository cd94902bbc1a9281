from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from data.corpus.labels import LabelledOrder
from data.records import Reading
from data.taxonomy import Taxonomy
from models import bundle as bundles
from models.bundle import Bundle, read_bundle
from models.encoder_classifier import EncoderClassifier
from tests.data.corpus.invented import order
from tests.models import tiny_bundle
from training.behaviours import Direction, Suite, Twin
from training.evaluate import Scored
from training.gate import FrozenSets, _Contender, _regressions, gate, gate_table

SUITE = Suite(
    (Twin("legal_route", "裁", "路灯"),),
    (Direction("a ruling", "路灯", "路灯裁", up=True),),
)


def orders() -> list[LabelledOrder]:
    told = [("reasonable", "路灯坏了请派人来修"), ("legal_route", "法院裁定不算数")]
    return [
        order(f"{number}{verdict}", title="来电", content=f"{content}{number}号", verdict=verdict)
        for number in range(30)
        for verdict, content in told
    ]


SETS = FrozenSets(orders(), [Reading("", f"路灯{number}") for number in range(40)], SUITE)


def tiny(folder: Path, taxonomy: Taxonomy, *, mark: str = tiny_bundle.UNREASONABLE_MARK) -> Bundle:
    """The tiny bundle, or one that votes `legal_route` on another character."""
    contents = tiny_bundle.files(taxonomy)
    pieces = tiny_bundle.tokenizer()
    vocabulary = pieces.get_vocab()
    contents[bundles.GRAPH] = tiny_bundle.graph(
        taxonomy, pieces.get_vocab_size(), vocabulary[mark], vocabulary[tiny_bundle.ALARM_MARK]
    )
    publishers = tiny_bundle.publish(folder, contents)
    return read_bundle(folder / "bundle", taxonomy, publishers)


def test_a_bundle_may_replace_itself(tmp_path: Path, taxonomy: Taxonomy) -> None:
    same = tiny(tmp_path, taxonomy)
    checks = gate(same, same, SETS, taxonomy, seed=1, redraws=100)
    assert all(check.passes for check in checks if "milliseconds" not in check.name)
    found = {check.name: check for check in checks}
    assert found["verdict AUC"].challenger == "1.000"
    assert found["verdict AUC"].bound == 0.0
    assert len(checks) == 12


def test_a_worse_bundle_stays_out(tmp_path: Path, taxonomy: Taxonomy) -> None:
    good = tiny(tmp_path / "good", taxonomy)
    bad = tiny(tmp_path / "bad", taxonomy, mark="修")  # a lamp to be mended is what it holds unreasonable
    found = {check.name: check for check in gate(good, bad, SETS, taxonomy, seed=1, redraws=100)}
    for name in ("verdict AUC", "verdict and ground named rightly"):
        assert not found[name].passes
    assert not found["behaviours failed"].passes
    table = gate_table(list(found.values()))
    assert table[-1] == "**The challenger stays out.**"
    assert any("| **fail** |" in row for row in table)


def test_without_real_orders_their_figure_is_left_out(tmp_path: Path, taxonomy: Taxonomy) -> None:
    same = tiny(tmp_path, taxonomy)
    names = {
        check.name
        for check in gate(same, same, FrozenSets(orders(), [], SUITE), taxonomy, seed=1, redraws=100)
    }
    assert "recall at 2 % and at 0.1 % of real orders" not in names
    assert "recall at 2 % false flags" in names


def test_the_bound_is_of_the_paired_difference(tmp_path: Path, taxonomy: Taxonomy) -> None:
    good, bad = tiny(tmp_path / "good", taxonomy), tiny(tmp_path / "bad", taxonomy, mark="修")
    better = {check.name: check for check in gate(bad, good, SETS, taxonomy, seed=1, redraws=100)}[
        "verdict AUC"
    ]
    assert better.passes
    assert better.bound == pytest.approx(1.0)
    assert np.isfinite(better.bound or np.nan)


def test_more_may_not_be_lost_than_won(tmp_path: Path, taxonomy: Taxonomy) -> None:
    """Sure on all; the worse one is wrong on a tenth of what the better one has right."""
    bundle = tiny(tmp_path, taxonomy)
    right = np.array([0.95 if each.unreasonable else 0.05 for each in SETS.orders])
    wrong = np.where(np.arange(len(right)) < len(right) // 10, 1 - right, right)
    better, worse = (
        _Contender(
            bundle,
            EncoderClassifier(bundle),
            Scored(SETS.orders, p, {}, {}, np.zeros((len(p), 7)), taxonomy),
            np.zeros(0),
        )
        for p in (right, wrong)
    )
    assert not _regressions(better, worse).passes
    assert _regressions(worse, better).passes
    assert _regressions(better, worse).champion == "10.00%"
