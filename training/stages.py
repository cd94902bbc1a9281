"""The expensive parts of a run, each made once per set of inputs; `training/run.py` calls it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

_NOTE = "stage.json"


class Stages:
    """Folders under one run. A finished stage with the same inputs is reused, an unfinished one goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def once(self, name: str, inputs: str, make: Callable[[Path], object]) -> Path:
        """The stage's folder, made by `make` unless it was already made from the same `inputs`.

        What an interrupted `make` left in the folder is kept for it to resume from; what other inputs
        left is removed.
        """
        folder = self._folder / name
        note = folder / _NOTE
        state = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        if state.get("inputs") != inputs:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            state = {"inputs": inputs, "done": False}
            _write(note, state)
        if state["done"]:
            print(f"{name}: already made", flush=True)
            return folder
        print(f"{name}: started", flush=True)
        make(folder)
        _write(note, {"inputs": inputs, "done": True})
        return folder


def _write(path: Path, state: dict[str, object]) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state), encoding="utf-8")
    fresh.replace(path)
