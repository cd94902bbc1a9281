"""`python -m tests.journeys.with_publishers FILE ROOM ...` runs a room that trusts the tests' publishers."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

from models import bundle


def main() -> None:
    """A real process needs a real bundle, and only the project's own key signs those that it ships."""
    publishers, room, *arguments = sys.argv[1:]
    assert bundle.read_bundle.__defaults__ == (bundle.PUBLISHERS,)
    bundle.read_bundle.__defaults__ = (Path(publishers),)
    sys.argv[1:] = arguments
    runpy.run_module(room, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
