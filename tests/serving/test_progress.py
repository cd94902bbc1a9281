"""A bar where somebody looks, a line now and then where a file does."""

from __future__ import annotations

import sys

import pytest

from serving.progress import Lines, as_time, progress


def test_a_line_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0
    lines = Lines(total=1000, done=100, clock=lambda: now)
    for _ in range(90):
        now += 0.125
        lines.advance()
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2
    assert told[0].startswith("已完成 140/1000 件，每秒 8.0 件，约剩 1 分 48 秒")
    assert told[1].startswith("已完成 180/1000 件，每秒 8.0 件")


@pytest.mark.parametrize("installed", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_a_bar_on_a_terminal(
    installed: bool, terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not installed:
        monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    with progress(total=40, done=10) as advance:
        for _ in range(30):
            advance()
    told = capsys.readouterr().err
    assert ("40/40" in told) == (installed and terminal)
    assert (installed and terminal) or told == ""


def test_time_in_words() -> None:
    assert [as_time(s) for s in (0, 59.4, 60, 3600, 3661)] == [
        *("0 秒", "59 秒", "1 分 0 秒", "1 小时 0 分 0 秒", "1 小时 1 分 1 秒"),
    ]
