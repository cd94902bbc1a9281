"""`python -m serving bulk` as a person runs it: a process, its exit status, a kill -9 in the middle."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from data.settings import ROOT
from models.triage import Triage
from serving.__main__ import main

ORDERS = [
    {"编号": n, "正文": f"来电人反映第{n}号路灯不亮，夜里看不清台阶，希望派人修好。"} for n in range(300)
]
NAMES = ["--id", "编号", "--content", "正文"]


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "serving", "bulk", *map(str, arguments)]


def environment(folder: Path) -> dict[str, str]:
    """No database can be reached from here, and no key lies here: none is needed."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINGBIAN_")}
    return {
        **inherited,
        "MINGBIAN_DATABASE_URL": f"sqlite:///{folder}/no/such/folder/m.db",
        "MINGBIAN_KEYS": str(folder / "keys"),
        "PYTHONIOENCODING": "utf-8",
    }


def run(folder: Path, *arguments: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        command(*arguments),
        check=False,
        cwd=ROOT,
        env=environment(folder),
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return done.returncode, done.stdout, done.stderr


def interrupt(folder: Path, how: signal.Signals, *arguments: str | Path) -> int:
    """Ends the command by a signal when some rows are written, and not all; its exit status."""
    part = Path(f"{arguments[1]}.part")
    process = subprocess.Popen(
        command(*arguments), cwd=ROOT, env=environment(folder), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 120
    begun = part.read_bytes().count(b"\n") if part.exists() else 0
    while time.monotonic() < deadline and process.poll() is None:
        if part.exists() and part.read_bytes().count(b"\n") >= begun + 10:
            break
        time.sleep(0.01)
    assert process.poll() is None, "it ended before it could be interrupted"
    process.send_signal(how)
    return process.wait(60)


def test_a_kill_costs_no_row_and_doubles_none(tmp_path: Path, triage: Triage) -> None:
    source, target = tmp_path / "in.csv", tmp_path / "out.parquet"
    with source.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(ORDERS[0]))
        writer.writeheader()
        writer.writerows(ORDERS)
    kept = 0
    for how, status in ((signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)):
        assert interrupt(tmp_path, how, source, target, *NAMES) == status
        assert not target.exists()
        lines = (tmp_path / "out.parquet.part").read_bytes().count(b"\n")
        assert kept < lines < len(ORDERS)
        kept = lines
    status, output, errors = run(tmp_path, source, target, *NAMES)
    assert (status, errors.count("Traceback")) == (0, 0)
    assert f"共 300 件，其中 {kept} 件此前已完成；模型研判 300 件" in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.parquet"]
    rows = read(target)
    assert [row["id"] for row in rows] == [str(order["编号"]) for order in ORDERS]
    for row, order in list(zip(rows, ORDERS, strict=True))[::10]:
        decision = triage.decide("", str(order["正文"]), datetime.now(UTC))
        assert row["p_unreasonable"] == decision.p_unreasonable
        assert (row["verdict"], row["disposition"]) == (decision.verdict, decision.disposition)
        assert row["bundle"] == triage.versions.bundle


def read(target: Path) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = pq.read_table(target).to_pylist()
    return rows


def test_bad_rows_show_in_the_exit_status(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": 1, "content": "路灯坏了", "r": "城东"}\n{"id": 2}\n', "utf-8")
    status, output, errors = run(tmp_path, source, target, "--keep", "r")
    assert (status, errors) == (3, "")
    assert "共 2 件；模型研判 1 件；模型未作答、由规则代答 0 件；无法研判 1 件（content_missing 1）" in output
    first, second = (json.loads(line) for line in target.read_text("utf-8").splitlines())
    assert (first["r"], first["problem"], second["problem"]) == ("城东", None, "content_missing")
    status, output, errors = run(tmp_path, source, target, "--keep", "r")
    assert (status, output) == (1, "")
    assert "output_exists" in errors


def test_without_a_model_nothing_begins(tmp_path: Path) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"id": 1, "content": "路灯坏了"}\n', "utf-8")
    status, output, errors = run(tmp_path, source, target, "--bundle", tmp_path / "none")
    assert (status, output) == (1, "")
    assert "model_missing" in errors
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_help_says_that_nothing_is_decided(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bulk", "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert "不对任何市民作出决定" in told
    assert "nothing is decided about a citizen" in told
    for option in ("--id", "--title", "--content", "--keep", "--bundle", "--ray", "--workers", "--lanes"):
        assert option in told


@pytest.mark.parametrize(
    "arguments", [["a.csv"], ["a.csv", "b.csv", "--lanes", "0"], ["a", "b", "--lanes", "x"]]
)
def test_what_is_no_command_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["bulk", *arguments])
    assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err
