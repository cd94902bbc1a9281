from __future__ import annotations

import json
from pathlib import Path

import pytest

from models.__main__ import main

FIELDS = {
    *("id", "p_unreasonable", "verdict", "ground", "kind", "subject", "flags"),
    *("disposition", "review_reasons"),
}


def write(path: Path, *rows: object) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    return path


def test_classify_answers_every_row_in_order(tmp_path: Path, shipped: Path) -> None:
    source = write(
        tmp_path / "in.jsonl",
        {"id": "a", "title": "反映路灯", "content": "幸福路路灯坏了三天，请派人维修。"},
        {"id": 7, "content": "我站在楼顶不想活了"},
        {"id": "c\ud800", "title": None, "content": "\ud800"},
    )
    target = tmp_path / "out.jsonl"
    assert main(["classify", str(source), str(target), "--bundle", str(shipped)]) == 0
    rows = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [row["id"] for row in rows] == ["a", 7, "c\ud800"]
    assert all(row.keys() == FIELDS for row in rows)
    assert all(row["ground"] not in (None, "reasonable") for row in rows)
    assert rows[1]["disposition"] == "transfer"
    assert "self_harm" in rows[1]["flags"]


@pytest.mark.parametrize(
    "line",
    ["not json", "[]", '{"id": 1}', '{"id": 1, "content": 5}', '{"id": 1, "content": "", "title": 3}'],
)
def test_a_broken_row_is_named_and_nothing_is_written(
    tmp_path: Path, shipped: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"id": 0, "content": "路灯坏了"}\n' + line + "\n", encoding="utf-8")
    target = tmp_path / "out.jsonl"
    assert main(["classify", str(source), str(target), "--bundle", str(shipped)]) == 1
    assert "第 2 行" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_check_accepts_the_shipped_bundle(shipped: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--bundle", str(shipped)]) == 0
    assert json.loads(capsys.readouterr().out)["digest"].startswith("sha256:")


def test_check_refuses_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "--bundle", str(tmp_path)]) == 1
    assert "bundle_missing" in capsys.readouterr().err
