"""The card's tables are counted from the committed labels, and counting them again changes nothing."""

from __future__ import annotations

import pytest

from data.corpus.card import CARD, tables, with_tables
from data.corpus.labels import read_folder
from data.errors import BadInput
from data.taxonomy import load_taxonomy
from tests.data.corpus.invented import order


def test_the_committed_tables_agree_with_the_labels() -> None:
    """If this fails: `python -m data corpus card`."""
    taxonomy = load_taxonomy()
    card = CARD.read_text(encoding="utf-8")
    assert with_tables(card, tables(read_folder(taxonomy), taxonomy)) == card


def test_the_tables_count_orders_pairs_and_words() -> None:
    orders = [
        order("a", pair="p", content="给我修路灯。"),
        order("b", pair="p", content="给我一盏路灯。", verdict="harassment", flags=("vulnerable",)),
        order("c", pair="q", content="路灯坏了。", region="south"),
    ]
    lines = tables(orders, load_taxonomy()).splitlines()
    assert "| north | 2 | 1 | 1 | 1 | 0 | 6 | 6 | 7 |" in lines
    assert "| south | 1 | 1 | 0 | 0 | 1 | 5 | 5 | 5 |" in lines
    assert "| all | 3 | 2 | 1 | 1 | 1 | 5 | 6 | 7 |" in lines
    assert "| 给我 | 50% of 2 | none |" in lines
    assert "| harassment | 1 | 0 | 1 |" in lines
    assert "| vulnerable | 1 | 0 | 1 |" in lines
    assert "| operator | 3 | 1 | 33% |" in lines


def test_only_the_counted_part_is_replaced() -> None:
    card = CARD.read_text(encoding="utf-8")
    changed = with_tables(card, "nothing\n")
    assert "nothing" in changed
    assert changed.split("## Counts")[0] == card.split("## Counts")[0]
    assert with_tables(changed, "nothing\n") == changed


@pytest.mark.parametrize(
    "damage", [lambda card: card.replace("<!-- counted until", "<!-- "), lambda card: card * 2]
)
def test_a_card_without_its_marks_is_refused(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(BadInput):
        with_tables(damage(CARD.read_text(encoding="utf-8")), "")
