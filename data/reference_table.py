"""Checks the values of a reviewed TOML file and notes every fault; taxonomy and rules are read with it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar

from data.errors import Fault

Built = TypeVar("Built")


def read_table(path: Path, pointer: str, faults: list[Fault]) -> tuple[bytes, Mapping[str, object]]:
    """The file's bytes and its top-level table; both empty, and a fault noted, where it cannot be read."""
    try:
        content = path.read_bytes()
        return content, tomllib.loads(content.decode())
    except OSError:
        faults.append(Fault(pointer, "文件不存在或者不可读。"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError):
        faults.append(Fault(pointer, "文件不是有效的TOML。"))
    return b"", {}


def read_entries(
    table: Mapping[str, object], pointer: str, key: str, build: Callable[[Entry], Built], faults: list[Fault]
) -> tuple[Built, ...]:
    """Builds each `[[key]]` of the file, in order; there must be at least one."""
    entries = table.get(key)
    if not isinstance(entries, list) or not entries or not all(isinstance(item, dict) for item in entries):
        faults.append(Fault(f"{pointer}/{key}", "至少要有一条。"))
        return ()
    built = []
    for place, content in enumerate(entries):
        entry = Entry(content, f"{pointer}/{key}/{place}", faults)
        built.append(build(entry))
        entry.finish()
    return tuple(built)


class Entry:
    """One table: a value that is missing or wrong is noted as a fault and stands in as an empty one."""

    def __init__(self, table: Mapping[str, object], pointer: str, faults: list[Fault]) -> None:
        self._table = table
        self._pointer = pointer
        self._faults = faults
        self._read: set[str] = set()

    def fault(self, key: str, detail: str) -> None:
        self._faults.append(Fault(f"{self._pointer}/{key}", detail))

    def text(self, key: str, pattern: re.Pattern[str] | None = None) -> str:
        value = self.optional_text(key)
        if value is None:
            if key not in self._table:
                self.fault(key, "缺少此项。")
            return ""
        if pattern is not None and pattern.fullmatch(value) is None:
            self.fault(key, "格式不对。")
        return value

    def optional_text(self, key: str) -> str | None:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, str) or not value.strip():
            self.fault(key, "应为非空文字。")
            return None
        return value

    def choice(self, key: str, choices: Collection[str], default: str | None = None) -> str:
        if default is not None and key not in self._table:
            self._read.add(key)
            return default
        value = self.text(key)
        if value and value not in choices:
            self.fault(key, "取值不在允许范围内。")
        return value

    def texts(self, key: str, least: int = 1) -> tuple[str, ...]:
        """A list of texts, `least` or more; may be absent where `least` is 0."""
        value = self._take(key)
        if value is None and least == 0:
            return ()
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            self.fault(key, "应为文字列表。")
            return ()
        if len(value) < least:
            self.fault(key, f"至少要有{least}条。")
        return tuple(value)

    def truth(self, key: str) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            self.fault(key, "应为 true 或 false。")
            return False
        return value

    def day(self, key: str) -> date | None:
        value = self._take(key)
        if value is None:
            return None
        if not isinstance(value, date) or isinstance(value, datetime):
            self.fault(key, "应为日期。")
            return None
        return value

    def finish(self) -> None:
        """A key that nobody asked for is a misspelt one."""
        if any(key not in self._read for key in self._table):
            self._faults.append(Fault(self._pointer, "含有未知的项。"))

    def _take(self, key: str) -> object:
        self._read.add(key)
        return self._table.get(key)
