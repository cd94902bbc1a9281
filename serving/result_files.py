"""Results as CSV or Parquet; `serving/result_journal.py` writes them when a run is complete."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from serving.record_files import Kind
from serving.rescoring import Result


def write(rows: Iterable[Result], kinds: Mapping[str, Kind], path: Path, suffix: str) -> None:
    """One column for each of `kinds`, in that order; `suffix` says in which format."""
    if suffix == ".csv":
        _write_csv(rows, kinds, path)
    else:
        from serving import parquet

        parquet.write(rows, kinds, path)


def as_text(value: Any) -> str:
    """A value from a file in a column of text: text as it is, anything else as JSON."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    # A lone surrogate, which JSON can escape, has no UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _write_csv(rows: Iterable[Result], kinds: Mapping[str, Kind], path: Path) -> None:
    # With a byte order mark, because Excel takes a file without one for GBK.
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(kinds)
        writer.writerows([_cell(row[name], kind) for name, kind in kinds.items()] for row in rows)


def _cell(value: Any, kind: Kind) -> str:
    if value is None:
        return ""
    return " ".join(value) if kind == "texts" else as_text(value)
