"""The committed labels are all valid, and every way a line can break is refused with its number."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data.corpus.labels import LABELS, STYLES, as_line, parse_lines, read_folder, read_labels
from data.errors import BadInput, NotFound
from data.taxonomy import Taxonomy, load_taxonomy
from tests.data.corpus.invented import order, row

ORDERS_IN = {
    "w1": 692, "w2": 613, "w3": 576, "w4": 618, "w5": 657, "w6": 490, "w7": 396, "w8": 304,
    "w9": 428, "w10": 417, "w11": 437, "w12": 485, "w13": 344, "w14": 427, "w15": 475, "w16": 491,
    "w17": 637, "w18": 262, "w19": 340, "w20": 418, "w21": 462, "w22": 392, "w23": 445, "w24": 420,
    "w25": 240, "w26": 180, "w27": 168, "w28": 270, "w29": 306, "w30": 306, "w31": 220, "w32": 300,
    "w33": 310, "w34": 300, "w35": 300, "w36": 310, "w37": 254, "w38": 226, "w39": 250, "w40": 190,
    "w41": 285, "w42": 221, "w43": 270, "w44": 320, "w45": 166, "w46": 234, "w47": 269, "w48": 238,
    "w49": 252, "w50": 231, "w51": 144, "w52": 256, "w53": 274, "w54": 262, "w55": 282, "w56": 305,
    "w57": 150, "w58": 280, "w59": 240, "w60": 170, "w61": 210, "w62": 270, "w63": 260, "w64": 260,
    "w65": 280, "w66": 220, "w67": 240, "w68": 280,
}  # fmt: skip
HOLDING = {  # flags, kinds, and flags
    "w27": {"reasonable"},
    "w28": {"reasonable"},
    "w43": {"reasonable", "civil_or_market", "internal_management"},
}
MISSING = {"w39": {"no_substance"}}  # a flag told in passing is substance


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def write(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(each, ensure_ascii=False) + "\n" for each in rows), encoding="utf-8")
    return path


def faults(path: Path, taxonomy: Taxonomy) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_labels(path, taxonomy)
    assert caught.value.code == "labels_invalid"
    return [fault.pointer for fault in caught.value.faults]


def test_committed_labels_are_valid_and_complete(taxonomy: Taxonomy) -> None:
    orders = read_folder(taxonomy)
    assert Counter(each.region for each in orders) == ORDERS_IN
    assert len({each.id for each in orders}) == len(orders)
    assert sum(each.unreasonable for each in orders) == 8294


@pytest.mark.parametrize("region", ORDERS_IN)
def test_each_file_holds_every_verdict_and_kind(region: str, taxonomy: Taxonomy) -> None:
    orders = read_labels(LABELS / f"{region}.jsonl", taxonomy)
    assert len(orders) == ORDERS_IN[region]
    assert {each.region for each in orders} == {region}
    verdicts = {each.verdict for each in orders}
    assert verdicts == HOLDING.get(region, set(taxonomy.verdicts) - MISSING.get(region, set()))
    assert len(set(taxonomy.groups["kind"]) - {each.kind for each in orders}) <= 1
    assert len(set(taxonomy.groups["subject"]) - {each.subject for each in orders}) <= 2
    assert {each.style for each in orders} <= set(STYLES)


def test_committed_pairs_never_hold_two_unreasonable_orders(taxonomy: Taxonomy) -> None:
    """A contrast pair differs in the deciding fact, so at most one half of it is unreasonable."""
    halves = Counter(each.pair for each in read_folder(taxonomy) if each.pair and each.unreasonable)
    assert max(halves.values()) == 1


def test_reads_what_was_written(tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = write(
        tmp_path / "north.jsonl",
        row("a", pair="p", flags=["emergency", "vulnerable"]),
        row("b", pair=None, verdict="harassment"),
    )
    first, second = read_labels(path, taxonomy)
    assert first == order("a", pair="p", flags=("emergency", "vulnerable"))
    assert second == order("b", verdict="harassment")
    assert (first.unreasonable, second.unreasonable) == (False, True)


def test_last_line_may_lack_its_newline(tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = write(tmp_path / "north.jsonl", row("a"), row("b"))
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert [each.id for each in read_labels(path, taxonomy)] == ["a", "b"]


@pytest.mark.parametrize(
    ("changed", "pointer"),
    [
        ({"extra": 1}, "/x.jsonl/2"),
        ({"region": "north"}, "/x.jsonl/2"),
        ({"verdict": "unreasonable"}, "/x.jsonl/2/verdict"),
        ({"verdict": ["reasonable"]}, "/x.jsonl/2/verdict"),
        ({"kind": "help "}, "/x.jsonl/2/kind"),
        ({"subject": None}, "/x.jsonl/2/subject"),
        ({"style": "poem"}, "/x.jsonl/2/style"),
        ({"flags": ["fire"]}, "/x.jsonl/2/flags"),
        ({"flags": [["emergency"]]}, "/x.jsonl/2/flags"),
        ({"flags": "emergency"}, "/x.jsonl/2/flags"),
        ({"flags": ["emergency", "emergency"]}, "/x.jsonl/2/flags"),
        ({"content": ""}, "/x.jsonl/2/content"),
        ({"content": " \u3000\n"}, "/x.jsonl/2/content"),
        ({"content": 5}, "/x.jsonl/2/content"),
        ({"title": ""}, "/x.jsonl/2/title"),
        ({"title": None}, "/x.jsonl/2/title"),
        ({"why": ""}, "/x.jsonl/2/why"),
        ({"id": ""}, "/x.jsonl/2/id"),
        ({"id": 2}, "/x.jsonl/2/id"),
        ({"id": "a"}, "/x.jsonl/2/id"),
        ({"pair": 7}, "/x.jsonl/2/pair"),
        ({"pair": " "}, "/x.jsonl/2/pair"),
    ],
)
def test_refuses_a_wrong_value(
    changed: dict[str, Any], pointer: str, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    path = write(tmp_path / "x.jsonl", row("a"), row("b", **changed), row("c"))
    assert faults(path, taxonomy) == [pointer]


@pytest.mark.parametrize("key", list(row("a")))
def test_refuses_a_missing_key(key: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    broken = row("b")
    del broken[key]
    assert faults(write(tmp_path / "x.jsonl", row("a"), broken), taxonomy) == [f"/x.jsonl/2/{key}"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "空行"),
        (b"  ", "空行"),
        (b"{", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b'"a"', "不是 JSON 对象"),
        (b"null", "不是 JSON 对象"),
        ("\ufeff{}".encode(), "JSON"),
        (b'{"id": "\xff"}', "UTF-8"),
        (json.dumps(row("b")).encode()[:-1] + b', "kind": "help"}', "重复的字段"),
        (json.dumps(row("b", content="\ud83d")).encode(), "代理字符"),
    ],
)
def test_refuses_a_broken_line(line: bytes, reason: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = write(tmp_path / "x.jsonl", row("a"))
    path.write_bytes(path.read_bytes() + line + b"\n" + json.dumps(row("c")).encode() + b"\n")
    with pytest.raises(BadInput) as caught:
        read_labels(path, taxonomy)
    (fault,) = caught.value.faults
    assert fault.pointer.startswith("/x.jsonl/2")
    assert fault.detail.startswith("第 2 行：")
    assert reason in fault.detail


def test_refuses_a_byte_order_mark_and_still_reads_on(tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = write(tmp_path / "x.jsonl", row("a"), row("b", kind="?"))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert faults(path, taxonomy) == ["/x.jsonl/1", "/x.jsonl/2/kind"]


def test_refuses_an_empty_file(tmp_path: Path, taxonomy: Taxonomy) -> None:
    assert faults(write(tmp_path / "x.jsonl"), taxonomy) == ["/x.jsonl/1"]


def test_reports_every_fault_of_every_file_at_once(tmp_path: Path, taxonomy: Taxonomy) -> None:
    write(tmp_path / "x.jsonl", row("a", kind="?", subject="?"), row("b", pair="p"))
    write(tmp_path / "y.jsonl", row("b", pair="p"), row("c", flags=3))
    with pytest.raises(BadInput) as caught:
        read_folder(taxonomy, tmp_path)
    pointers = [fault.pointer for fault in caught.value.faults]
    assert sorted(pointers) == [
        "/x.jsonl/1/kind",
        "/x.jsonl/1/subject",
        "/y.jsonl",
        "/y.jsonl",
        "/y.jsonl/2/flags",
    ]
    assert "5" in caught.value.detail


def test_never_repeats_what_was_sent(tmp_path: Path, taxonomy: Taxonomy) -> None:
    path = write(tmp_path / "x.jsonl", row("a", kind="机密甲", 机密乙=1))
    with pytest.raises(BadInput) as caught:
        read_labels(path, taxonomy)
    told = str(caught.value) + "".join(fault.pointer + fault.detail for fault in caught.value.faults)
    assert "机密" not in told


def test_a_missing_file_or_an_empty_folder_is_not_found(tmp_path: Path, taxonomy: Taxonomy) -> None:
    with pytest.raises(NotFound):
        read_labels(tmp_path / "none.jsonl", taxonomy)
    with pytest.raises(NotFound):
        read_folder(taxonomy, tmp_path)


def test_a_snapshot_line_reads_back_as_the_same_order(taxonomy: Taxonomy) -> None:
    for each in (order("a"), order("b", pair="p", flags=("emergency",), verdict="harassment", region="x")):
        assert parse_lines(as_line(each).encode(), "s", taxonomy) == ([each], [])


def test_a_snapshot_line_needs_its_region(taxonomy: Taxonomy) -> None:
    line = json.dumps(row("a")).encode()
    _, found = parse_lines(line, "s", taxonomy)
    assert [fault.pointer for fault in found] == ["/s/1/region"]
