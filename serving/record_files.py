"""Reads orders row by row from JSONL, CSV or Parquet files of any size; bulk re-scoring calls it."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Protocol

from data.errors import BadInput

FORMATS: Final = (".jsonl", ".csv", ".parquet")
TITLE: Final = "title"
# More than any text that is read; a file without line ends, or with a quote left open, fills no memory.
ROW_LIMIT: Final = 1 << 20
_CHUNK: Final = 1 << 16
_BOM: Final = b"\xef\xbb\xbf"

# What a column of results holds: text, texts, a whole number, a number, or true and false.
Kind = Literal["text", "texts", "whole", "number", "truth"]
Row = dict[str, Any] | BadInput


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns of a file are an order's id, title and content, and which are carried through."""

    id: str = "id"
    title: str = TITLE
    content: str = "content"
    kept: tuple[str, ...] = ()

    @property
    def wanted(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.id, self.title, self.content, *self.kept)))

    def check(self, header: Sequence[str]) -> None:
        """A title need not be there, unless it was named.

        Raises:
            BadInput: `column_missing`, `column_repeated`.
        """
        missing = [name for name in self.wanted if name not in header]
        if self.title == TITLE and TITLE not in self.kept:
            missing = [name for name in missing if name != TITLE]
        if missing:
            raise BadInput("column_missing", f"输入文件没有这些列：{'、'.join(missing)}。")
        if any(header.count(name) > 1 for name in self.wanted):
            raise BadInput("column_repeated", "输入文件的表头中有重复的列名。")


@dataclass(frozen=True, slots=True)
class Record:
    """One row: values as JSON has them. `problem` and `detail` say why a row could not be read at all."""

    id: Any = None
    title: Any = None
    content: Any = None
    kept: dict[str, Any] = field(default_factory=dict)
    problem: str | None = None
    detail: str | None = None


class RecordFile(Protocol):
    """A file of one format."""

    def check(self, columns: Columns) -> None:
        """Raises:
        BadInput: the file lacks a column, or no row of it could be read.
        """

    def count(self) -> int:
        """How many rows `rows` yields."""

    def kinds(self, names: Sequence[str]) -> dict[str, Kind]:
        """What each of these columns holds; text where the format does not say."""

    def rows(self, names: Sequence[str], skip: int = 0) -> Iterator[Row]:
        """The named columns of each row behind the first `skip`, or what keeps the row from being read."""


def open_records(path: Path) -> RecordFile:
    """Raises:
    BadInput: `format_unknown`, `file_unreadable`.
    Unavailable: Parquet needs a library that is not installed.
    """
    check_format(path)
    if not path.is_file():
        raise BadInput("file_unreadable", "输入文件不存在或无法读取。")
    match path.suffix:
        case ".jsonl":
            return JsonLines(path)
        case ".csv":
            return Csv(path)
    from serving.parquet import Parquet

    return Parquet(path)


def check_format(path: Path) -> None:
    """Raises:
    BadInput: `format_unknown`.
    """
    if path.suffix not in FORMATS:
        raise BadInput("format_unknown", f"文件名须以 {'、'.join(FORMATS)} 之一结尾。")


def records(path: Path, columns: Columns, skip: int = 0) -> Iterator[Record]:
    """The file's rows in order, behind the first `skip`."""
    for row in open_records(path).rows(columns.wanted, skip):
        if isinstance(row, BadInput):
            yield Record(kept=dict.fromkeys(columns.kept), problem=row.code, detail=row.detail)
        else:
            kept = {name: row.get(name) for name in columns.kept}
            yield Record(row.get(columns.id), row.get(columns.title), row.get(columns.content), kept)


class JsonLines:
    """One JSON object a line, UTF-8; blank lines are no rows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self, columns: Columns) -> None:
        """Every line names its own members."""

    def count(self) -> int:
        return sum(1 for _ in self._lines())

    def kinds(self, names: Sequence[str]) -> dict[str, Kind]:
        return dict.fromkeys(names, "text")

    def rows(self, names: Sequence[str], skip: int = 0) -> Iterator[Row]:
        for line in islice(self._lines(), skip, None):
            yield line if isinstance(line, BadInput) else _object(line, names)

    def _lines(self) -> Iterator[bytes | BadInput]:
        with self._path.open("rb") as file:
            while line := _line(file):
                if isinstance(line, BadInput) or line.strip():
                    yield line


class Csv:
    """RFC 4180 in UTF-8, with or without a byte order mark, CRLF or LF; the first row names the columns."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # A limit of the whole process, and at 128 Ki by default below that of a row.
        csv.field_size_limit(ROW_LIMIT)

    def check(self, columns: Columns) -> None:
        header = next(self._fields(), None)
        if header is None:
            raise BadInput("header_missing", "CSV 文件是空的，首行须为列名。")
        if isinstance(header, BadInput):
            raise BadInput("header_missing", f"CSV 文件的首行（列名）无法读取：{header.detail}")
        columns.check(header)

    def count(self) -> int:
        return sum(1 for _ in islice(self._fields(), 1, None))

    def kinds(self, names: Sequence[str]) -> dict[str, Kind]:
        return dict.fromkeys(names, "text")

    def rows(self, names: Sequence[str], skip: int = 0) -> Iterator[Row]:
        fields = self._fields()
        header = next(fields, [])
        if isinstance(header, BadInput):
            return
        places = [(name, header.index(name)) for name in names if name in header]
        for row in islice(fields, skip, None):
            if isinstance(row, BadInput):
                yield row
            elif len(row) != len(header):
                yield BadInput("row_malformed", "这一行的列数与表头不同。")
            else:
                yield {name: row[place] for name, place in places}

    def _fields(self) -> Iterator[list[str] | BadInput]:
        with self._path.open("rb") as file:
            lines = _CsvLines(file)
            reader = csv.reader(lines, strict=True)
            while True:
                lines.begin_row()
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except BadInput as error:
                    yield error
                except csv.Error:
                    yield BadInput("row_malformed", "这一行的引号或换行不符合 CSV 语法。")
                else:
                    if fields:
                        yield fields


class _CsvLines:
    """The lines of a CSV file for its parser, which forgets the row it is in when one raises."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._row_size = 0

    def begin_row(self) -> None:
        self._row_size = 0

    def __iter__(self) -> _CsvLines:
        return self

    def __next__(self) -> str:
        line = _line(self._file)
        if isinstance(line, BadInput):
            raise line
        if not line:
            raise StopIteration
        self._row_size += len(line)
        if self._row_size > ROW_LIMIT:
            raise _too_large()
        try:
            return line.decode("utf-8")
        except UnicodeDecodeError:
            raise _not_utf8() from None


def _line(file: BinaryIO) -> bytes | BadInput:
    """The next line without a byte order mark, empty at the end; of one that is too long nothing is kept."""
    begins = file.tell() == 0
    line = file.readline(ROW_LIMIT + 1)
    if len(line) <= ROW_LIMIT:
        return line.removeprefix(_BOM) if begins else line
    while line and not line.endswith(b"\n"):
        line = file.readline(_CHUNK)
    return _too_large()


def _object(line: bytes, names: Sequence[str]) -> Row:
    try:
        row = json.loads(line.decode("utf-8"), parse_constant=lambda _: None, parse_float=_finite)
    except UnicodeDecodeError:
        return _not_utf8()
    except (ValueError, RecursionError):
        return BadInput("row_malformed", "这一行不是合法的 JSON。")
    if not isinstance(row, dict):
        return BadInput("row_malformed", "这一行不是 JSON 对象。")
    return {name: row.get(name) for name in names}


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _too_large() -> BadInput:
    return BadInput("row_too_large", f"这一行超过 {ROW_LIMIT} 字节。")


def _not_utf8() -> BadInput:
    return BadInput("row_not_utf8", "这一行不是 UTF-8 文本；GBK 文件请先转换编码。")
