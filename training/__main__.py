"""`python -m training`: make and measure encoders, and make bundles."""

from __future__ import annotations

import argparse
import sys
import tomllib
from itertools import chain
from pathlib import Path

from data.corpus.labels import read_folder
from data.errors import BadInput, MingbianError
from data.settings import ROOT, Settings
from data.taxonomy import load_taxonomy
from models.bundle import PUBLISHERS, public_text, read_bundle
from models.onnx_classifier import OnnxClassifier
from training.behaviours import judge_of, read_suite, run_suite, table
from training.encoder import make_encoder
from training.encoder_card import write_encoder_card
from training.publisher import open_publisher_key
from training.recipe import read_encoder_recipe, read_recipe
from training.run import run
from training.yardsticks.measure import measure
from training.yardsticks.tasks import leave_one_region_out, public_tasks


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make models.")
    commands = parser.add_subparsers(dest="command", required=True)
    runner = commands.add_parser("run", help="train, calibrate, certify, evaluate and write a bundle (训练)")
    runner.add_argument("recipe", type=Path)
    runner.add_argument("--out", type=Path, help="where the bundle goes (default: the run's folder)")
    maker = commands.add_parser("pretrain", help="learn a vocabulary and an encoder from text (预训练)")
    maker.add_argument("recipe", type=Path)
    maker.add_argument("--out", type=Path, help="where the encoder goes (default: models/encoders/NAME)")
    behave = commands.add_parser("behaviours", help="try what a bundle is able to do (行为测试)")
    behave.add_argument("bundle", type=Path, help="folder of the bundle")
    yard = commands.add_parser("yardsticks", help="measure an encoder on public and authored tasks (评测)")
    yard.add_argument("encoder", type=Path, help="folder of the encoder")
    yard.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="how the tasks' names begin")
    yard.add_argument("--contenders", nargs="+", default=[], metavar="NAME")
    yard.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args(arguments)
    settings = Settings()
    try:
        if chosen.command == "pretrain":
            return _pretrain(chosen.recipe, chosen.out, settings)
        if chosen.command == "behaviours":
            return _behaviours(chosen.bundle)
        if chosen.command == "yardsticks":
            return _yardsticks(chosen, settings)
        recipe = read_recipe(chosen.recipe)
        signer = open_publisher_key(settings.keys)
        _require_known(public_text(signer.public_key()))
        folder = ROOT / "var" / "runs" / recipe.name
        out = chosen.out or folder / "bundle"
        digest = run(recipe, external=settings.external, folder=folder, out=out, signer=signer)
    except MingbianError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 1
    print(f"{out}\n{digest}")
    return 0


def _pretrain(path: Path, out: Path | None, settings: Settings) -> int:
    recipe = read_encoder_recipe(path)
    out = out or ROOT / "models" / "encoders" / recipe.name
    folder = ROOT / "var" / "encoders" / recipe.name
    figures = make_encoder(recipe, corpora=settings.corpora, folder=folder, out=out)
    (out / "CARD.md").write_text(write_encoder_card(out), encoding="utf-8")
    for name, held in figures["held_out"].items():
        print(f"{name:18} perplexity {held['perplexity']:8.1f}  top-1 {held['top1']:.3f}")
    print(out)
    return 0


def _yardsticks(chosen: argparse.Namespace, settings: Settings) -> int:
    orders = read_folder(load_taxonomy())
    tasks = chain(leave_one_region_out(orders), public_tasks(settings.external))
    wanted = (task for task in tasks if not chosen.tasks or task.name.startswith(tuple(chosen.tasks)))
    measure(chosen.encoder, wanted, chosen.seeds, chosen.contenders)
    card = write_encoder_card(chosen.encoder)
    (chosen.encoder / "CARD.md").write_text(card, encoding="utf-8")
    return 0


def _behaviours(folder: Path) -> int:
    taxonomy = load_taxonomy()
    model = OnnxClassifier(read_bundle(folder, taxonomy))
    orders = [(order.title, order.content) for order in read_folder(taxonomy) if order.region == "w4"]
    print("\n".join(table(run_suite(judge_of(model), read_suite(taxonomy), orders))))
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
