"""Keeps the results of a run that is under way, so that a later one goes on; `serving/bulk.py` calls it."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from data.errors import BadInput, Conflict
from serving import result_files
from serving.record_files import Kind
from serving.rescoring import Result, Tally

_SYNC_EVERY_S: Final = 5.0


class Journal:
    """The rows so far, JSON lines in `OUTPUT.part`; `OUTPUT.part.json` says what they come from.

    Whatever the format of the output: a JSON line is whole or not, where half a Parquet file is nothing.
    A kill loses no row, a power failure those of the last seconds; `tally` counts what is there.
    """

    def __init__(self, target: Path, origin: Mapping[str, Any]) -> None:
        """Opens the journal of this output, behind the last whole row of an earlier run.

        Args:
            origin: everything that the rows depend on, as JSON has it.

        Raises:
            BadInput: `output_unwritable`.
            Conflict: `output_exists`; `bulk_running`: another process writes it; `part_differs`: the rows
                come from another input, model or setting.
        """
        if target.exists():
            raise Conflict("output_exists", "输出文件已经存在，不会覆盖；请换一个文件名，或先移走它。")
        self._target = target
        self._part = target.with_name(target.name + ".part")
        self._origin = target.with_name(target.name + ".part.json")
        self.tally = Tally()
        try:
            self._file = self._part.open("a+b")
        except OSError as error:
            raise BadInput(
                "output_unwritable", f"输出文件夹不存在或无法写入（{type(error).__name__}）。"
            ) from error
        try:
            self._lock()
            self._continue(json.loads(json.dumps(origin)))
        except BaseException:
            self._file.close()
            raise
        self.tally.before = self.tally.rows
        self._synced = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, result: Result) -> None:
        self._file.write(_line(result))
        self._file.flush()
        self.tally.add(result)
        if time.monotonic() - self._synced > _SYNC_EVERY_S:
            self._sync()

    def finish(self, kinds: Mapping[str, Kind]) -> None:
        """Makes OUTPUT of all rows, in the format that its name says, and ends the journal."""
        self._sync()
        if self._target.suffix == ".jsonl":
            self._part.replace(self._target)
        else:
            whole = self._target.with_name(self._target.name + ".whole")
            rows = (result for _, result in _whole_rows(self._file))
            result_files.write(rows, kinds, whole, self._target.suffix)
            with whole.open("rb") as file:
                os.fsync(file.fileno())
            whole.replace(self._target)
            self._part.unlink()
        self._origin.unlink()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("bulk_running", "另一个进程正在写同一个输出文件。") from None

    def _continue(self, origin: Any) -> None:
        if self._known() == origin:
            whole = 0
            for line, result in _whole_rows(self._file):
                whole += len(line)
                self.tally.add(result)
            self._file.truncate(whole)
        elif self._file.seek(0, os.SEEK_END) == 0:
            fresh = self._origin.with_name(self._origin.name + ".new")
            fresh.write_text(json.dumps(origin, ensure_ascii=False, indent=1) + "\n", "utf-8")
            fresh.replace(self._origin)
        else:
            raise Conflict(
                "part_differs",
                f"{self._part.name} 是另一次没有完成的运行留下的，输入、模型或设置与这次不同；"
                "不再需要时请先删除它。",
            )

    def _known(self) -> Any:
        try:
            return json.loads(self._origin.read_bytes())
        except (FileNotFoundError, ValueError):
            return None

    def _sync(self) -> None:
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def _whole_rows(file: BinaryIO) -> Iterator[tuple[bytes, Result]]:
    """Every line from the beginning on, up to the first that was not written to its end."""
    file.seek(0)
    for line in file:
        try:
            yield line, json.loads(line[: line.index(b"\n")])
        except ValueError:
            return


def _line(result: Result) -> bytes:
    try:
        return json.dumps(result, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:  # a lone surrogate in what was carried through can only be escaped
        return json.dumps(result).encode("ascii") + b"\n"
