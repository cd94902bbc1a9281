"""What Ray answers is what this machine answers, row for row; skipped where the extra `bulk` is missing."""

from __future__ import annotations

import importlib.util
import signal
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from data.errors import Unavailable
from models.triage import Triage
from serving.bulk import Here, Job
from serving.bulk import run as run_here
from serving.ray_bulk import Workers
from serving.record_files import Columns
from tests.serving.test_bulk_command import interrupt, run

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None,
    reason="ray is not installed: pip install -e '.[bulk]' (80 MB that no other test needs)",
)
ON_RAY = ["--ray", "--workers", "2", "--lanes", "1", "--keep", "region"]
# Long enough for several blocks, so that both workers have some of them.
STREETS = "，".join(f"第{n}号路灯不亮" for n in range(60))


@pytest.fixture
def job(tmp_path: Path, shipped: Path) -> Job:
    contents = [f"来电人反映{n}：" + STREETS * (n % 3) for n in range(40)]
    rows = {
        "id": list(range(44)),
        "title": ["反映路灯"] * 43 + ["灯" * 201],
        "content": [*contents, None, "", "灯" * 20_001, "灯"],
        "region": [None, *("城东\ud7ff" for _ in range(43))],
    }
    pq.write_table(pa.table(rows), tmp_path / "in.parquet", row_group_size=7)
    return Job(
        source=tmp_path / "in.parquet",
        target=tmp_path / "here.jsonl",
        columns=Columns(kept=("region",)),
        bundle=shipped,
        text_limit=20_000,
        auto_decline=False,
        base_rate=None,
    )


@needs_ray
def test_the_answers_are_those_of_this_machine(job: Job, triage: Triage) -> None:
    tally = run_here(job, Here(triage))
    folder = job.source.parent
    for suffix in (".jsonl", ".parquet"):
        status, output, errors = run(folder, job.source, folder / f"ray{suffix}", *ON_RAY)
        assert (status, "Traceback" in errors) == (3, False), errors
        assert f"共 44 件；模型研判 40 件；模型未作答、由规则代答 0 件；无法研判 {tally.refused} 件" in output
    assert (folder / "ray.jsonl").read_bytes() == job.target.read_bytes()
    assert pq.read_table(folder / "ray.parquet").column("id").to_pylist() == list(range(44))


@needs_ray
def test_ray_goes_on_where_this_machine_was_killed(job: Job, triage: Triage) -> None:
    run_here(job, Here(triage))
    folder = job.source.parent
    target = folder / "ray.jsonl"
    interrupt(folder, signal.SIGKILL, job.source, target, "--keep", "region")
    left = target.with_name("ray.jsonl.part").read_bytes().count(b"\n")
    status, output, errors = run(folder, job.source, target, *ON_RAY)
    assert (status, f"其中 {left} 件此前已完成" in output) == (3, True), errors
    assert target.read_bytes() == job.target.read_bytes()


@needs_ray
def test_a_cluster_that_cannot_do_it_is_refused(job: Job) -> None:
    for arguments, code in (
        (["--ray", "--lanes", "99"], "cluster_too_small"),
        (["--ray", "--address", "auto"], "ray_unreachable"),
    ):
        status, output, errors = run(job.source.parent, job.source, job.target, *arguments)
        assert (status, output) == (1, "")
        assert code in errors
    assert [path.name for path in job.source.parent.iterdir()] == ["in.parquet"]


def test_without_ray_it_says_what_to_install(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Unavailable) as caught:
        Workers(job, "local", None, 1)
    assert caught.value.code == "ray_missing"
    assert "bulk" in caught.value.detail
