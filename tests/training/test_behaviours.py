from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from data.corpus.labels import read_folder
from data.errors import BadInput
from data.masking import read_text
from data.taxonomy import Taxonomy
from training.behaviours import CHANGES, Suite, Twin, read_suite, run_suite, table

ORDERS = [("路灯", "路灯坏了3天，他请你们快修。"), ("法院", "要求改判，没有别的。")]


def by_mark(texts: Sequence[tuple[str, str]]) -> list[float]:
    """A judge that goes by one word, as a bad model does."""
    return [0.9 if "改判" in content else 0.1 for _, content in texts]


def test_every_ground_is_covered_and_no_case_is_in_the_corpus(taxonomy: Taxonomy) -> None:
    suite = read_suite(taxonomy)
    assert {twin.ground for twin in suite.twins} == set(taxonomy.verdicts[1:])
    contents = {order.content for order in read_folder(taxonomy)}
    written = [text for twin in suite.twins for text in (twin.unreasonable, twin.reasonable)]
    assert len(set(written)) == len(written)
    assert not contents & set(written)


def test_a_ground_that_does_not_exist_is_refused(taxonomy: Taxonomy, tmp_path: Path) -> None:
    path = tmp_path / "behaviours.toml"
    path.write_text('[[twin]]\nground = "weather"\nunreasonable = "a"\nreasonable = "b"\n[[change]]\n'
                    'what = "w"\nfrom = "a"\ninto = "b"\nto = "up"\n', encoding="utf-8")  # fmt: skip
    with pytest.raises(BadInput, match="behaviours_invalid"):
        read_suite(taxonomy, path)
    path.write_text("[[twin]]\n", encoding="utf-8")
    with pytest.raises(BadInput, match="behaviours_invalid"):
        read_suite(taxonomy, path)


def test_wrong_halves_and_wrong_orders_are_counted() -> None:
    twins = (
        Twin("legal_route", "要求改判。", "问上诉期限。"),
        Twin("legal_route", "推翻判决。", "判决书丢了，想补，不是要改判。"),
    )
    rows = {each.name: each for each in run_suite(by_mark, Suite(twins, ()), ORDERS)}
    assert (rows["legal_route"].cases, rows["legal_route"].failures) == (4, 2)
    assert (rows["twins in order"].cases, rows["twins in order"].failures) == (2, 1)
    assert rows["no punctuation"].failures == 0
    assert rows["zero-width characters"].failures == 1  # this judge reads raw text


def test_exact_changes_vanish_in_canonical_text() -> None:
    for change in CHANGES:
        if change.exact:
            for title, content in ORDERS:
                assert read_text(title, change.apply(content)).reading == read_text(title, content).reading


def test_other_changes_change_something() -> None:
    text = "什么都没有，他在楼下，先生。"
    assert all(change.apply(text) != text for change in CHANGES if change.name[0] != "f" or not change.exact)


def test_the_table_gives_rates(taxonomy: Taxonomy) -> None:
    lines = table(run_suite(by_mark, read_suite(taxonomy), ORDERS))
    assert lines[0].startswith("| kind |")
    assert any("| direction | a court has decided | 1 | 1 | 100.0% |" in line for line in lines)
