"""`python -m training`: make a bundle from a recipe."""

from __future__ import annotations

import argparse
import sys
import tomllib
from pathlib import Path

from data.errors import BadInput, MingbianError
from data.settings import ROOT, Settings
from models.bundle import PUBLISHERS, public_text
from training.publisher import open_publisher_key
from training.recipe import read_recipe
from training.run import run


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make models.")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="train, calibrate, certify, evaluate and write a bundle (训练)")
    runner.add_argument("recipe", type=Path)
    runner.add_argument("--out", type=Path, help="where the bundle goes (default: the run's folder)")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    try:
        recipe = read_recipe(chosen.recipe)
        signer = open_publisher_key(settings.keys)
        _require_known(public_text(signer.public_key()))
        folder = ROOT / "var" / "runs" / recipe.name
        out = chosen.out or folder / "bundle"
        digest = run(recipe, corpora=settings.corpora, folder=folder, out=out, signer=signer)
    except MingbianError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 1
    print(f"{out}\n{digest}")
    return 0


def _require_known(publisher: str) -> None:
    """Before an hour of training, not after it: nobody would load what this key signs."""
    known = tomllib.loads(PUBLISHERS.read_text(encoding="utf-8"))["publishers"]
    if publisher not in {entry["key"] for entry in known}:
        raise BadInput(
            "publisher_unknown",
            f"本机的发布密钥不在 {PUBLISHERS.name} 中，请经评审后把下面的公钥加进去：{publisher}",
        )


if __name__ == "__main__":
    sys.exit(main())
