from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from data.corpus.labels import read_folder
from data.corpus.readings import MessageReading, message_digest
from data.errors import BadInput, NotFound
from data.records import Reading
from data.taxonomy import Taxonomy
from training.examples import (
    MESSAGES,
    ORDERS,
    Example,
    authored,
    examples_digest,
    held_back,
    real_messages,
    real_orders,
)


def write(path: Path, *rows: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def test_an_authored_order_has_every_group(taxonomy: Taxonomy) -> None:
    order = read_folder(taxonomy)[0]
    (example,) = authored([order], taxonomy)
    named = {group: taxonomy.groups[group][place] for group, place in example.labels.items()}
    assert named == {"verdict": order.verdict, "kind": order.kind, "subject": order.subject}
    assert (example.pair, example.weak) == (order.pair, False)


def test_messages_are_weakly_reasonable_masked_and_come_once(taxonomy: Taxonomy, tmp_path: Path) -> None:
    told = {"title": "路灯", "content": "路灯坏了，电话13800138000", "subject": "urban_rural"}
    write(tmp_path / MESSAGES[0], told, told)
    write(tmp_path / MESSAGES[1], {"title": "水", "content": "停水"})
    first, second = real_messages(tmp_path, taxonomy)
    assert "[电话]" in first.reading.content
    assert first.labels == {"verdict": 0, "subject": taxonomy.groups["subject"].index("urban_rural")}
    assert second.labels == {"verdict": 0}
    assert first.weak
    assert second.weak


def test_missing_files_and_unknown_subjects_are_refused(taxonomy: Taxonomy, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="messages_missing"):
        real_messages(tmp_path, taxonomy)
    write(tmp_path / MESSAGES[0], {"title": "", "content": "路灯", "subject": "weather"})
    write(tmp_path / MESSAGES[1])
    with pytest.raises(BadInput, match="subject_unknown"):
        real_messages(tmp_path, taxonomy)


def test_the_digest_moves_with_whatever_is_learned(taxonomy: Taxonomy) -> None:
    plain = Example(Reading("路灯", "路灯坏了"), {"verdict": 0, "kind": 1}, flags=(0,))
    changed = (
        replace(plain, reading=Reading("路灯", "路灯亮了")),
        replace(plain, labels={"verdict": 1, "kind": 1}),
        replace(plain, pair="p1"),
        replace(plain, flags=()),
        replace(plain, flags=None),
        replace(plain, weak=True),
        replace(plain, real=True),
    )
    digests = {examples_digest([each]) for each in (plain, *changed)} | {examples_digest([plain, plain])}
    assert len(digests) == len(changed) + 2
    assert examples_digest([replace(plain, labels={"kind": 1, "verdict": 0})]) in digests


def test_real_orders_are_read_where_there_are_any(tmp_path: Path) -> None:
    assert real_orders(tmp_path) == []
    write(tmp_path / ORDERS, {"content": "市民来电反映路灯不亮"})
    assert real_orders(tmp_path)[0].content == "市民来电反映路灯不亮"


def test_what_calibrates_is_kept_from_training_by_its_text() -> None:
    messages = [Example(Reading("标题", f"第{number}封信"), {}, weak=True) for number in range(400)]
    training, kept = held_back(messages, 0.45)
    assert len(training) + len(kept) == 400
    assert 0.35 < len(kept) / 400 < 0.55
    retitled = [replace(example, reading=Reading("", example.reading.content)) for example in kept]
    assert held_back(retitled, 0.45) == ([], retitled)
    assert held_back(messages, 0.0) == (messages, [])


def test_what_a_reader_decided_takes_the_place_of_a_presumption(taxonomy: Taxonomy, tmp_path: Path) -> None:
    write(tmp_path / MESSAGES[0], {"title": "房屋", "content": "漏水", "subject": "urban_rural"})
    write(tmp_path / MESSAGES[1], {"title": "判决", "content": "要求改判"})
    read = MessageReading("legal_route", "help", "political_legal", ("vulnerable",), sure=True)
    readings = {message_digest("判决", "要求改判"): read}
    first, second = real_messages(tmp_path, taxonomy, readings)
    assert first.weak
    assert not second.weak
    assert taxonomy.verdicts[second.labels["verdict"]] == "legal_route"
    assert taxonomy.groups["kind"][second.labels["kind"]] == "help"
    assert second.flags == (taxonomy.flag_codes.index("vulnerable"),)
