"""What is written stays written, once, and only what belongs together ends in one output."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from data.errors import BadInput, Conflict
from serving import result_files
from serving.record_files import Kind
from serving.result_journal import Journal

ORIGIN = {"input": {"size": 5}, "columns": {"kept": ("region",)}, "base_rate": None}
KINDS: dict[str, Kind] = {
    "id": "text",
    "share": "number",
    "count": "whole",
    "right": "truth",
    "flags": "texts",
    "fallback": "text",
    "problem": "text",
}


def row(number: Any, **changes: Any) -> dict[str, Any]:
    given = {"id": number, "share": 0.1, "count": 3, "right": True, "flags": ["a", "b"]}
    return {**given, "fallback": None, "problem": None, **changes}


ROWS = [
    row("甲，\n乙\u2028丙"),
    row(7, share=0.043865192926351604, flags=[], right=False),
    row(["x", {"y": None}], share=None, count=None, right=None, flags=None, problem="row_malformed"),
    row("c\ud800", fallback="model_error"),
]


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(target: Path, rows: list[dict[str, Any]], *, finish: bool = False) -> Journal:
    with Journal(target, ORIGIN) as journal:
        for each in rows:
            journal.append(each)
        if finish:
            journal.finish(KINDS)
    return journal


def read(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]


def test_an_output_appears_when_it_is_whole(target: Path) -> None:
    write(target, ROWS[:2])
    assert names(target.parent) == ["out.jsonl.part", "out.jsonl.part.json"]
    journal = write(target, ROWS[2:], finish=True)
    assert names(target.parent) == ["out.jsonl"]
    assert read(target) == ROWS
    assert (journal.tally.before, journal.tally.rows) == (2, 4)
    assert (journal.tally.degraded, journal.tally.problems) == (1, {"row_malformed": 1})


@pytest.mark.parametrize("cut", range(1, 12))
def test_half_a_row_is_written_anew(target: Path, cut: int) -> None:
    write(target, ROWS[:2])
    part = target.with_name("out.jsonl.part")
    part.write_bytes(part.read_bytes()[:-cut])
    journal = write(target, ROWS[1:], finish=True)
    assert journal.tally.before == 1
    assert read(target) == ROWS


@pytest.mark.parametrize("damage", [b"\0\0\0\0", b"\0\0\0\n\0", b'{"id": 3\n'])
def test_what_a_power_failure_leaves_is_written_anew(target: Path, damage: bytes) -> None:
    write(target, ROWS[:2])
    with target.with_name("out.jsonl.part").open("ab") as part:
        part.write(damage)
    assert write(target, ROWS[2:], finish=True).tally.before == 2
    assert read(target) == ROWS


def test_rows_of_another_run_are_neither_used_nor_lost(target: Path) -> None:
    write(target, ROWS)
    before = target.with_name("out.jsonl.part").read_bytes()
    for other in ({**ORIGIN, "base_rate": 0.1}, {**ORIGIN, "input": {"size": 6}}):
        with pytest.raises(Conflict) as caught:
            Journal(target, other)
        assert caught.value.code == "part_differs"
    origin = target.with_name("out.jsonl.part.json")
    for content in (b"", b"{"):
        origin.write_bytes(content)
        with pytest.raises(Conflict):
            Journal(target, ORIGIN)
    assert target.with_name("out.jsonl.part").read_bytes() == before


def test_a_run_that_got_nowhere_is_no_obstacle(target: Path) -> None:
    write(target, [])
    with Journal(target, {**ORIGIN, "base_rate": 0.1}) as journal:
        assert journal.tally.rows == 0


def test_one_process_writes_at_a_time(target: Path) -> None:
    with Journal(target, ORIGIN), pytest.raises(Conflict) as caught:
        Journal(target, ORIGIN)
    assert caught.value.code == "bulk_running"


def test_nothing_is_overwritten(target: Path) -> None:
    target.write_text("earlier", "utf-8")
    with pytest.raises(Conflict) as caught:
        Journal(target, ORIGIN)
    assert caught.value.code == "output_exists"
    assert (target.read_text("utf-8"), names(target.parent)) == ("earlier", ["out.jsonl"])
    with pytest.raises(BadInput):
        Journal(target.parent / "missing" / "out.jsonl", ORIGIN)


def test_as_csv(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    write(target, ROWS, finish=True)
    assert names(tmp_path) == ["out.csv"]
    assert target.read_bytes().startswith(b"\xef\xbb\xbfid,share")
    with target.open(encoding="utf-8-sig", newline="") as file:
        assert list(csv.reader(file)) == [
            list(KINDS),
            ["甲，\n乙\u2028丙", "0.1", "3", "true", "a b", "", ""],
            ["7", "0.043865192926351604", "3", "false", "", "", ""],
            ['["x", {"y": null}]', "", "", "", "", "", "row_malformed"],
            ["c?", "0.1", "3", "true", "a b", "model_error", ""],
        ]


def test_as_parquet(tmp_path: Path) -> None:
    target = tmp_path / "out.parquet"
    write(target, ROWS, finish=True)
    assert names(tmp_path) == ["out.parquet"]
    table = pq.read_table(target)
    assert [str(field.type) for field in table.schema] == [
        *("string", "double", "int64", "bool"),
        *("list<element: string>", "string", "string"),
    ]
    texts = ["甲，\n乙\u2028丙", "7", '["x", {"y": null}]', "c?"]
    assert table.to_pylist() == [{**each, "id": text} for each, text in zip(ROWS, texts, strict=True)]


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_kill_while_the_output_is_made_costs_nothing(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(rows: Iterable[Any], kinds: object, path: Path, suffix: str) -> None:
        path.write_text("half of it", "utf-8")
        raise InterruptedError

    target = tmp_path / f"out{suffix}"
    with monkeypatch.context() as patch:
        patch.setattr(result_files, "write", die)
        with pytest.raises(InterruptedError):
            write(target, ROWS, finish=True)
    assert not target.exists()
    assert write(target, [], finish=True).tally.before == len(ROWS)
    assert names(tmp_path) == [target.name]


def test_no_rows(tmp_path: Path) -> None:
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        write(tmp_path / name, [], finish=True)
    assert (tmp_path / "a.jsonl").read_bytes() == b""
    assert (tmp_path / "a.csv").read_text("utf-8-sig").strip() == ",".join(KINDS)
    assert pq.read_table(tmp_path / "a.parquet").schema.names == list(KINDS)
