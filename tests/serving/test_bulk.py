"""A file in, its results out: every format, in order, the answers of the triage that is served."""

from __future__ import annotations

import csv
import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import Conflict, MingbianError, Unavailable
from models.triage import Triage
from serving.bulk import Here, Job, Results, in_order, run, summary
from serving.record_files import FORMATS, Columns
from serving.rescoring import ANSWER, Tally

TEXTS = ["路灯坏了", "法院裁定不算数，裁裁裁裁", "着火了", "灯" * 101, "请派人来修，\r\n第二行"]
ORDERS = [{"id": f"甲-{n}", "title": "反映", "content": TEXTS[n % 5], "region": str(n)} for n in range(60)]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    return Job(
        source=tmp_path / "in.jsonl",
        target=tmp_path / "out.jsonl",
        columns=Columns(kept=("region",)),
        bundle=tmp_path / "bundle",
        text_limit=100,
        auto_decline=False,
        base_rate=None,
    )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    match path.suffix:
        case ".jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        case ".csv":
            with path.open("w", encoding="utf-8-sig", newline="") as file:
                writer = csv.DictWriter(file, list(rows[0]))
                writer.writeheader()
                writer.writerows(rows)
        case ".parquet":
            pq.write_table(pa.Table.from_pylist(rows), path)


def read(path: Path) -> list[dict[str, Any]]:
    """The results; of a CSV file the cells, which are text."""
    match path.suffix:
        case ".jsonl":
            return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        case ".csv":
            with path.open(encoding="utf-8-sig", newline="") as file:
                return list(csv.DictReader(file))
    rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    return rows


def assert_answered(rows: list[dict[str, Any]], triage: Triage, limit: int) -> None:
    """Each of ORDERS has the answer that triage gives, in their order."""
    assert [row["id"] for row in rows] == [order["id"] for order in ORDERS]
    for row, order in zip(rows, ORDERS, strict=True):
        assert list(row) == ["id", "region", *ANSWER]
        assert row["region"] == order["region"]
        if len(order["content"]) > limit:
            assert row["problem"] == "content_too_long"
            continue
        decision = triage.decide(order["title"], order["content"], datetime.now(UTC))
        assert (row["problem"], row["detail"]) == (None, None)
        assert (row["verdict"], row["ground"]) == (decision.verdict, decision.ground)
        assert (row["p_unreasonable"], row["confidence"]) == (decision.p_unreasonable, decision.confidence)
        assert (row["disposition"], row["flags"]) == (decision.disposition, list(decision.flags))


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_to_every_other(job: Job, tiny_triage: Triage, source: str, target: str) -> None:
    job = replace(job, source=job.source.with_suffix(source), target=job.target.with_suffix(target))
    write(job.source, ORDERS)
    tally = run(job, Here(tiny_triage))
    assert (tally.rows, tally.before, tally.degraded) == (60, 0, 0)
    assert tally.problems == {"content_too_long": 12}
    rows = read(job.target)
    if target == ".csv":
        shown = {row["id"]: row for row in rows}
        assert shown["甲-2"]["flags"] == "emergency"
        assert shown["甲-3"]["problem"] == "content_too_long"
        assert float(shown["甲-1"]["p_unreasonable"]) > 0.9
        rows = [_typed(row) for row in rows]
    assert_answered(rows, tiny_triage, job.text_limit)
    assert sorted(path.name for path in job.target.parent.iterdir()) == [job.source.name, job.target.name]


def _typed(row: dict[str, str]) -> dict[str, Any]:
    """A CSV file's cells as the other formats have them."""
    typed: dict[str, Any] = {name: cell or None for name, cell in row.items()}
    for name in ("p_unreasonable", "confidence"):
        typed[name] = float(row[name]) if row[name] else None
    for name in ("flags", "review_reasons"):
        typed[name] = row[name].split()
    return typed


def test_numbers_of_parquet_stay_numbers(job: Job, tiny_triage: Triage) -> None:
    job = replace(job, source=job.source.with_suffix(".parquet"), columns=Columns(kept=("share", "id2")))
    columns = {"id": [7, 8], "id2": [7, 8], "content": ["路灯", "井盖"], "share": [0.5, None]}
    pq.write_table(pa.table(columns), job.source)
    run(job, Here(tiny_triage))
    assert [(row["id"], row["share"]) for row in read(job.target)] == [(7, 0.5), (8, None)]
    job = replace(job, target=job.target.with_suffix(".parquet"))
    run(job, Here(tiny_triage))
    assert [str(field.type) for field in pq.read_schema(job.target)][:3] == ["int64", "double", "int64"]


def test_bad_rows_stop_nothing(job: Job, tiny_triage: Triage) -> None:
    lines = ["{", '{"id": 1}', '{"content": "灯"}', '{"id": 2, "content": 5}', '{"id": 3, "content": "灯"}']
    job.source.write_text("\n".join(lines), "utf-8")
    tally = run(job, Here(tiny_triage))
    rows = read(job.target)
    problems = ["row_malformed", "content_missing", "id_missing", "content_not_text", None]
    assert [row["problem"] for row in rows] == problems
    assert [row["id"] for row in rows] == [None, 1, None, 2, 3]
    assert all((row["detail"] is None) == (row["problem"] is None) for row in rows)
    assert tally.refused == 4


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_without_rows(job: Job, tiny_triage: Triage, suffix: str) -> None:
    job = replace(job, source=job.source.with_suffix(suffix), target=job.target.with_suffix(suffix))
    if suffix == ".parquet":
        pq.write_table(pa.table({name: pa.array([], pa.string()) for name in ORDERS[0]}), job.source)
    else:
        job.source.write_text("id,content,region\r\n" if suffix == ".csv" else "", "utf-8")
    assert run(job, Here(tiny_triage)).rows == 0
    assert read(job.target) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"columns": Columns(kept=("street",))}, "column_missing"),
        ({"columns": Columns(id="number")}, "column_missing"),
        ({"columns": Columns(kept=("id",))}, "column_taken"),
        ({"target": "out.xlsx"}, "format_unknown"),
        ({"target": "in.csv"}, "output_exists"),
        ({"target": "none/out.csv"}, "output_unwritable"),
        ({"source": "missing.csv"}, "file_unreadable"),
    ],
)
def test_what_cannot_end_does_not_begin(
    job: Job, tiny_triage: Triage, changes: dict[str, Any], code: str
) -> None:
    folder = job.source.parent
    changes = {name: folder / value if isinstance(value, str) else value for name, value in changes.items()}
    job = replace(job, **{"source": job.source.with_suffix(".csv"), **changes})
    write(folder / "in.csv", ORDERS)
    with pytest.raises(MingbianError) as caught:
        run(job, Here(tiny_triage))
    assert caught.value.code == code
    assert [path.name for path in folder.iterdir()] == ["in.csv"]


class Dying(Here):
    """Scores some rows and no more; tells from which row on it was asked."""

    def __init__(self, triage: Triage, rows: int) -> None:
        super().__init__(triage)
        self._rows = rows
        self.skipped = -1

    def results(self, job: Job, skip: int) -> Results:
        self.skipped = skip
        for number, result in enumerate(super().results(job, skip)):
            if number == self._rows:
                raise Unavailable("workers_failed", "停了")
            yield result


def test_a_run_goes_on_where_it_stopped(job: Job, tiny_triage: Triage) -> None:
    write(job.source, ORDERS)
    for done in (0, 25, 50):
        scorer = Dying(tiny_triage, 25)
        if done < 50:
            with pytest.raises(Unavailable):
                run(job, scorer)
            assert not job.target.exists()
        else:
            tally = run(job, scorer)
        assert scorer.skipped == done
    assert (tally.before, tally.rows, tally.refused) == (50, 60, 12)
    assert_answered(read(job.target), tiny_triage, job.text_limit)


def test_a_run_that_only_lacks_its_end_scores_nothing(job: Job, tiny_triage: Triage) -> None:
    write(job.source, ORDERS)
    run(job, Here(tiny_triage))
    job.target.rename(job.target.with_name("out.jsonl.part"))
    with pytest.raises(Conflict):
        run(job, Here(tiny_triage))
    job.target.with_name("out.jsonl.part").unlink()
    with pytest.raises(Unavailable):
        run(job, Dying(tiny_triage, 59))
    part = job.target.with_name("out.jsonl.part")
    part.write_bytes(part.read_bytes() + part.read_bytes().splitlines(keepends=True)[-1])
    scorer = Dying(tiny_triage, 0)
    assert run(job, scorer).before == 60
    assert scorer.skipped == -1


@pytest.mark.parametrize("change", ["head", "size", "time", "columns", "limit", "rate", "model"])
def test_rows_of_another_input_model_or_setting_are_not_mixed(
    job: Job, tiny_triage: Triage, no_model: Triage, change: str
) -> None:
    write(job.source, ORDERS)
    before = job.source.stat()
    with pytest.raises(Unavailable):
        run(job, Dying(tiny_triage, 5))
    scorer = Here(tiny_triage)
    match change:
        case "head":
            content = job.source.read_bytes()
            job.source.write_bytes(content.replace(b"-59", b"-95"))
            os.utime(job.source, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "size":
            with job.source.open("ab") as file:
                file.write(b"\n")
            os.utime(job.source, ns=(before.st_atime_ns, before.st_mtime_ns))
        case "time":
            os.utime(job.source, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
        case "columns":
            job = replace(job, columns=Columns())
        case "limit":
            job = replace(job, text_limit=99)
        case "rate":
            job = replace(job, base_rate=0.01)
        case "model":
            scorer = Here(no_model)
    with pytest.raises(Conflict) as caught:
        run(job, scorer)
    assert caught.value.code == "part_differs"


class Meddling(Here):
    def results(self, job: Job, skip: int) -> Results:
        yield from super().results(job, skip)
        with job.source.open("ab") as file:
            file.write(b'{"id": 99, "content": "later"}\n')


def test_an_input_that_changes_meanwhile_has_no_output(job: Job, tiny_triage: Triage) -> None:
    write(job.source, ORDERS)
    with pytest.raises(Conflict) as caught:
        run(job, Meddling(tiny_triage))
    assert caught.value.code == "input_changed"
    assert not job.target.exists()


def test_results_keep_their_order_and_few_rows_are_held() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(2000):
            taken += 1
            yield number

    def work(number: int) -> int:
        time.sleep(0.02 if number % 100 == 0 else 0)  # one that takes long holds up the others' output only
        return number

    most = 0
    for done, result in enumerate(in_order(work, items(), threads=4)):
        assert result == done
        most = max(most, taken - done)
    assert taken == 2000
    assert 4 < most <= 32


def test_all_threads_work_at_once() -> None:
    together = threading.Barrier(4, timeout=20)
    assert len(list(in_order(lambda _: together.wait(), range(4), threads=4))) == 4


def test_who_stops_listening_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    results = in_order(lambda number: number, iter(range(10**9)), threads=4)
    assert next(results) == 0
    results.close()
    assert threading.active_count() == before


def test_what_a_row_raises_ends_the_run() -> None:
    def work(number: int) -> int:
        if number == 50:
            raise RuntimeError("boom")
        return number

    results = in_order(work, range(100), threads=2)
    assert [next(results) for _ in range(50)] == list(range(50))
    with pytest.raises(RuntimeError, match="boom"):
        next(results)


def test_a_model_that_cannot_run_is_no_reason_to_ask_the_rules(job: Job) -> None:
    with pytest.raises(Unavailable) as caught:
        job.open_triage(job.bundle)
    assert caught.value.code == "model_missing"


def test_the_summary_says_what_became_of_the_rows() -> None:
    tally = Tally(rows=10, before=4, degraded=1)
    tally.problems.update({"content_missing": 2, "row_malformed": 1})
    assert summary(tally, 3.0) == (
        "共 10 件，其中 4 件此前已完成；模型研判 6 件；模型未作答、由规则代答 1 件；"
        "无法研判 3 件（content_missing 2、row_malformed 1）；用时 3 秒，每秒 2.0 件。"
    )
    assert "此前" not in summary(Tally(rows=1), 1.0)
