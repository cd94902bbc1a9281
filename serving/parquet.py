"""Parquet files of orders and of results; the only file that imports pyarrow; bulk re-scoring calls it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time
from itertools import islice
from pathlib import Path
from typing import Any, Final

from data.errors import BadInput, Unavailable
from serving.record_files import Columns, Kind, Row
from serving.result_files import as_text

_BATCH: Final = 256  # rows decoded at a time
_GROUP: Final = 10_000  # rows written as one row group


class Parquet:
    """See `RecordFile`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrow = _arrow()
        with self._opened() as file:
            self._schema = file.schema_arrow
            self._rows = file.metadata.num_rows

    def check(self, columns: Columns) -> None:
        columns.check(self._schema.names)

    def count(self) -> int:
        rows: int = self._rows
        return rows

    def kinds(self, names: Sequence[str]) -> dict[str, Kind]:
        return {name: self._kind(name) for name in names}

    def rows(self, names: Sequence[str], skip: int = 0) -> Iterator[Row]:
        with self._opened() as file:
            groups = list(range(file.num_row_groups))
            while groups and skip >= (rows := file.metadata.row_group(groups[0]).num_rows):
                skip -= rows
                del groups[0]
            there = [name for name in names if name in self._schema.names]
            batches = file.iter_batches(_BATCH, row_groups=groups, columns=there)
            yield from islice(
                (_row(batch, place) for batch in batches for place in range(len(batch))), skip, None
            )

    def _kind(self, name: str) -> Kind:
        types = self._arrow.types
        kind = self._schema.field(name).type
        if types.is_boolean(kind):
            return "truth"
        if types.is_floating(kind):
            return "number"
        # An unsigned one of 64 bits may not fit.
        return "whole" if types.is_integer(kind) and not types.is_uint64(kind) else "text"

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            with self._arrow.parquet.ParquetFile(self._path) as file:
                yield file
        except (OSError, self._arrow.ArrowException) as error:
            raise BadInput("file_unreadable", f"Parquet 文件无法读取（{type(error).__name__}）。") from error


def write(rows: Iterable[Mapping[str, Any]], kinds: Mapping[str, Kind], path: Path) -> None:
    """Results as a Parquet file with one column for each of `kinds`."""
    arrow = _arrow()
    types = {
        "text": arrow.string(),
        "texts": arrow.list_(arrow.string()),
        "whole": arrow.int64(),
        "number": arrow.float64(),
        "truth": arrow.bool_(),
    }
    schema = arrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    waiting = iter(rows)
    with arrow.parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        while group := list(islice(waiting, _GROUP)):
            columns = [[_cell(row[name], kind) for row in group] for name, kind in kinds.items()]
            writer.write_table(arrow.table(columns, schema=schema))


def _cell(value: Any, kind: Kind) -> Any:
    if kind != "text" or value is None:
        return value
    return as_text(value)


def _row(batch: Any, place: int) -> Row:
    try:
        return {name: _plain(batch.column(name)[place].as_py()) for name in batch.schema.names}
    except UnicodeDecodeError:  # pyarrow does not look into what a file calls text
        return BadInput("row_not_utf8", "这一行含有不是 UTF-8 的文字。")


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case None | str() | int():
            return value
        case datetime() | date() | time():
            return value.isoformat()
        case Mapping():
            return {str(key): _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case _:
            return str(value)


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise Unavailable(
            "pyarrow_missing", "读写 Parquet 需要 pyarrow，请先执行：pip install -e '.[bulk]'"
        ) from error
    return pyarrow
