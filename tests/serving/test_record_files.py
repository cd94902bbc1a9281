"""Rows of JSONL, CSV and Parquet as they come from Excel, from exports and out of broken pipes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import BadInput, MingbianError
from serving import record_files
from serving.record_files import ROW_LIMIT, Columns, Row, open_records, records

Write = Callable[[str, bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return make


def rows(path: Path, names: Sequence[str] = ("id", "content"), skip: int = 0) -> list[Any]:
    """What was read; of a row that could not be, the code."""

    def seen(row: Row) -> Any:
        return row.code if isinstance(row, BadInput) else tuple(row[name] for name in names)

    return [seen(row) for row in open_records(path).rows(names, skip)]


def parquet(path: Path, columns: dict[str, Any], groups: int = 1) -> Path:
    table = pa.table(columns)
    size = -(-len(table) // groups)
    with pq.ParquetWriter(path, table.schema) as writer:
        for start in range(0, len(table), size):
            writer.write_table(table.slice(start, size))
    return path


def test_json_lines(write: Write) -> None:
    lines = [
        b'\xef\xbb\xbf{"id": 1, "content": "\xe8\xb7\xaf\xe7\x81\xaf", "more": {"a": [1]}}\r\n',
        b"\n",
        b"  \t\r\n",
        b'{"id": 12345678901234567890123, "content": "\\ud83d\\ude00 \\u2028"}\n',
        b"{not json\n",
        b'["a"]\n',
        b'{"id": "\xff"}\n',
        b"[" * 100_000 + b"\n",
        b'{"id": NaN, "content": 1e999}\n',
        b'{"id": "last"}',
    ]
    path = write("a.jsonl", b"".join(lines))
    expected = [
        (1, "路灯"),
        (12345678901234567890123, "😀 \u2028"),
        "row_malformed",
        "row_malformed",
        "row_not_utf8",
        "row_malformed",
        (None, None),
        ("last", None),
    ]
    assert rows(path) == expected
    assert open_records(path).count() == len(expected)
    assert rows(path, skip=5) == expected[5:]


@pytest.mark.parametrize("suffix", [".jsonl", ".csv"])
def test_a_huge_line_is_one_bad_row_and_never_held(
    write: Write, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "ROW_LIMIT", 1000)
    first, last = {
        ".jsonl": (b'{"id": 1, "content": "a"}\n', b'{"id": 2, "content": "b"}\n'),
        ".csv": (b"id,content\n1,a\n", b"2,b\n"),
    }[suffix]
    for size in (1001, 5_000_000):
        path = write(f"a{suffix}", first + b"x" * size + b"\n" + last)
        found = rows(path)
        assert [row if isinstance(row, str) else row[1] for row in found] == ["a", "row_too_large", "b"]


def test_csv_as_programs_write_it(write: Write) -> None:
    text = (
        "编号,title,content,id\r\n"
        '甲,"带""引号""的标题","第一行\r\n第二行，逗号,也在",1\r\n'
        "\r\n"
        '乙,,他说"没有人管",2\r\n'
        "丙,𠮷野家,\u3000全角空格 e\u0301 👨‍👩‍👧,3"
    )
    expected = [
        ("甲", '带"引号"的标题', "第一行\r\n第二行，逗号,也在"),
        ("乙", "", '他说"没有人管"'),
        ("丙", "𠮷野家", "\u3000全角空格 e\u0301 👨‍👩‍👧"),
    ]
    for mark in (b"", b"\xef\xbb\xbf"):
        path = write("a.csv", mark + text.encode())
        open_records(path).check(Columns(id="编号"))
        assert rows(path, ("编号", "title", "content")) == expected
        assert rows(path, ("编号", "title", "content"), skip=2) == expected[2:]
        assert open_records(path).count() == 3
    assert [
        row[2] for row in rows(write("b.csv", text.replace("\r\n", "\n").encode()), ("编号", "id", "content"))
    ] == [
        expected[0][2].replace("\r\n", "\n"),
        expected[1][2],
        expected[2][2],
    ]


def test_bad_rows_of_csv_end_with_themselves(write: Write) -> None:
    lines = [
        b"id,content",
        b"1,a",
        b"2,a,b",
        b"3",
        b'4,"a"b',
        b"5,\xb9\xa4\xb5\xa5",
        b"6,c",
        b'7,"open',
        b"8,swallowed",
    ]
    path = write("a.csv", b"\n".join(lines) + b"\n")
    bad = ["row_malformed"] * 3 + ["row_not_utf8"]
    assert rows(path) == [("1", "a"), *bad, ("6", "c"), "row_malformed"]
    assert open_records(path).count() == 7


def test_an_open_quote_swallows_no_more_than_a_row_may_hold(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_files, "ROW_LIMIT", 1000)
    path = write("a.csv", b'id,content\n1,"open\n' + b"2,b\n" * 1000)
    found = rows(path)
    assert found[0] == "row_too_large"
    assert found[1:] == [("2", "b")] * len(found[1:])
    assert len(found) > 700


def test_a_long_field_of_csv_is_read(write: Write) -> None:
    assert rows(write("a.csv", b"id,content\n1," + b"a" * 200_000)) == [("1", "a" * 200_000)]
    assert ROW_LIMIT > 200_000


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "header_missing"),
        (b"\xef\xbb\xbf", "header_missing"),
        ("编号,正文\n1,路灯\n".encode("gb18030"), "header_missing"),
        (b'"id\n', "header_missing"),
        ("编号,content\n".encode(), "column_missing"),
        (b"1,a\n2,b\n", "column_missing"),
        (b"id,content,id\n", "column_repeated"),
    ],
)
def test_a_csv_without_its_header_is_refused_whole(write: Write, content: bytes, code: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_records(write("a.csv", content)).check(Columns())
    assert caught.value.code == code


def test_a_title_need_not_be_there_unless_it_is_named(write: Write) -> None:
    file = open_records(write("a.csv", b"id,content\n"))
    file.check(Columns())
    assert (file.count(), list(file.rows(("id",)))) == (0, [])
    for columns in (Columns(title="heading"), Columns(kept=("title",)), Columns(kept=("region",))):
        with pytest.raises(BadInput):
            file.check(columns)


def test_parquet(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5)  # noqa: DTZ001 - as files hold it
    columns = {
        "id": pa.array(range(5), pa.uint32()),
        "content": ["路灯", None, "", "井盖", "树"],
        "kept": pa.array([[1.5], [float("nan")], None, [], [2.0]], pa.list_(pa.float64())),
        "at": [moment] * 5,
        "blob": [b"x"] * 5,
        "share": [0.25, float("inf"), None, 1.0, 2.0],
        "right": [True, False, None, True, True],
        "large": pa.array([2**64 - 1] * 5, pa.uint64()),
    }
    path = parquet(tmp_path / "a.parquet", columns, groups=3)
    file = open_records(path)
    file.check(Columns(kept=("at",)))
    assert file.count() == 5
    assert rows(path) == [(0, "路灯"), (1, None), (2, ""), (3, "井盖"), (4, "树")]
    for skip in range(6):
        assert rows(path, skip=skip) == rows(path)[skip:]
    assert rows(path, ("kept", "at", "blob", "share"), skip=0)[:2] == [
        ([1.5], "2026-01-02T03:04:05", "b'x'", 0.25),
        ([None], "2026-01-02T03:04:05", "b'x'", None),
    ]
    names = ("id", "content", "kept", "share", "right", "large")
    assert list(file.kinds(names).values()) == ["whole", "text", "text", "number", "truth", "text"]
    with pytest.raises(BadInput):
        file.check(Columns(content="text"))


def test_text_of_parquet_that_is_no_utf8(tmp_path: Path) -> None:
    broken = pa.array([b"\xff", "路灯".encode()], pa.binary()).view(pa.string())
    path = parquet(tmp_path / "a.parquet", {"id": ["1", "2"], "content": broken})
    assert rows(path) == ["row_not_utf8", ("2", "路灯")]


@pytest.mark.parametrize("name", ["a.parquet", "a.txt", "a", "missing.csv", "folder.csv", "a.JSONL"])
def test_what_is_no_file_of_orders_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.csv").mkdir()
    for given in ("a.parquet", "a.txt", "a", "a.JSONL"):
        (tmp_path / given).write_bytes(b"PAR1 nothing")
    with pytest.raises(BadInput):
        open_records(tmp_path / name)


def test_without_pyarrow_only_parquet_is_refused(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert rows(write("a.jsonl", b'{"id": 1, "content": "a"}')) == [(1, "a")]
    assert rows(write("a.csv", b"id,content\n1,a")) == [("1", "a")]
    with pytest.raises(MingbianError) as caught:
        open_records(write("a.parquet", b""))
    assert caught.value.code == "pyarrow_missing"


def test_records_are_what_the_columns_say(write: Write) -> None:
    row = {"no": 7, "heading": "标题", "text": "正文", "region": "城东", "secret": "不带走"}
    path = write("a.jsonl", json.dumps(row).encode() + b"\nx\n")
    first, second = records(path, Columns("no", "heading", "text", ("region", "other")))
    assert (first.id, first.title, first.content) == (7, "标题", "正文")
    assert first.kept == {"region": "城东", "other": None}
    assert (second.id, second.problem) == (None, "row_malformed")
    assert second.kept == {"region": None, "other": None}
