"""Re-scores a file of orders and decides nothing about anybody; `python -m serving bulk` calls it."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

from data.errors import Conflict, Unavailable
from data.records import Versions
from models.triage import Triage, open_triage
from serving.progress import as_time, progress
from serving.record_files import Columns, check_format, open_records, records
from serving.rescoring import ANSWER, Result, Tally, check_columns, rescored
from serving.result_journal import Journal

_HEAD: Final = 1 << 20  # bytes of the input that tell it from another one
_AHEAD: Final = 8  # rows for each thread: one long text does not hold up the others

Item = TypeVar("Item")
Done = TypeVar("Done")
Results = Generator[Result, None, None]


@dataclass(frozen=True, slots=True)
class Job:
    """What is re-scored, by which model, on which terms."""

    source: Path
    target: Path
    columns: Columns
    bundle: Path
    text_limit: int
    auto_decline: bool
    base_rate: float | None

    def open_triage(self, bundle: Path) -> Triage:
        """The triage on the job's terms. No deadline: a file waits for nobody, and the answers must not
        depend on the machine's load.

        Raises:
            Unavailable: the model cannot run. Millions of rules' answers are not what anybody wants.
        """
        triage = open_triage(bundle, auto_decline=self.auto_decline, base_rate=self.base_rate)
        if triage.missing is not None:
            triage.close()
            raise Unavailable(triage.missing, "模型无法使用，没有开始；请检查模型包。")
        return triage


class Scorer(Protocol):
    """Where the rows are scored."""

    @property
    def versions(self) -> Versions:
        """What the decisions will be made under."""

    def results(self, job: Job, skip: int) -> Results:
        """A result for each row of the input behind the first `skip`, in order."""

    def close(self) -> None: ...


class Here:
    """In this process, on every core that it may use."""

    def __init__(self, triage: Triage) -> None:
        self._triage = triage

    @property
    def versions(self) -> Versions:
        return self._triage.versions

    def results(self, job: Job, skip: int) -> Results:
        threads = 2 * self._triage.lanes.count  # a lane never waits for the next text to be read
        rows = records(job.source, job.columns, skip)
        return in_order(lambda record: rescored(record, self._triage, job.text_limit), rows, threads)

    def close(self) -> None:
        self._triage.close()


def run(job: Job, scorer: Scorer) -> Tally:
    """Scores what an earlier run has left, and makes the output when all is done.

    Raises:
        BadInput: the input has no such columns or cannot be read, or the output's format is unknown.
        Conflict: see `Journal`; `input_changed` while it was being read.
        Unavailable: a library or a worker is missing; what is done is kept.
    """
    check_format(job.target)
    check_columns(job.columns)
    source = open_records(job.source)
    source.check(job.columns)
    total = source.count()
    origin = _origin(job, scorer.versions)
    with Journal(job.target, origin) as journal, progress(total, journal.tally.before) as advance:
        if journal.tally.before < total:
            # Closed whatever happens: a thread that waits for its turn would keep the process from ending.
            with closing(scorer.results(job, journal.tally.before)) as results:
                for result in results:
                    journal.append(result)
                    advance()
        if _origin(job, scorer.versions) != origin or journal.tally.rows != total:
            raise Conflict(
                "input_changed", "输入文件在运行期间被改动，结果不可用；请删除 .part 文件后重新运行。"
            )
        (of_id,) = source.kinds([job.columns.id]).values()
        journal.finish({"id": of_id, **source.kinds(job.columns.kept), **ANSWER})
    return journal.tally


def in_order(
    work: Callable[[Item], Done], items: Iterable[Item], threads: int
) -> Generator[Done, None, None]:
    """Each item's result, in the items' order, from many threads; few items are held at a time."""
    window: deque[Future[Done]] = deque()
    with ThreadPoolExecutor(threads, "bulk") as pool:
        try:
            for item in items:
                window.append(pool.submit(work, item))
                if len(window) >= _AHEAD * threads:
                    yield window.popleft().result()
            while window:
                yield window.popleft().result()
        finally:
            for future in window:
                future.cancel()


def summary(tally: Tally, seconds: float) -> str:
    """What became of the rows, in Chinese; `seconds` are those of this run alone."""
    here = tally.rows - tally.before
    problems = "、".join(f"{code} {count}" for code, count in tally.problems.most_common())
    parts = [
        f"共 {tally.rows} 件" + (f"，其中 {tally.before} 件此前已完成" if tally.before else ""),
        f"模型研判 {tally.rows - tally.degraded - tally.refused} 件",
        f"模型未作答、由规则代答 {tally.degraded} 件",
        f"无法研判 {tally.refused} 件" + (f"（{problems}）" if problems else ""),
        f"用时 {as_time(seconds)}，每秒 {here / seconds:.1f} 件",
    ]
    return "；".join(parts) + "。"


def _origin(job: Job, versions: Versions) -> dict[str, Any]:
    """All that the results depend on."""
    facts = job.source.stat()
    with job.source.open("rb") as file:
        head = hashlib.sha256(file.read(_HEAD)).hexdigest()
    return {
        "input": {"size": facts.st_size, "modified_ns": facts.st_mtime_ns, "head_sha256": head},
        "columns": asdict(job.columns),
        "text_limit": job.text_limit,
        "auto_decline": job.auto_decline,
        "base_rate": job.base_rate,
        "versions": asdict(versions),
    }
