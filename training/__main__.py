"""`python -m training`: make and measure encoders, and make bundles."""

from __future__ import annotations

import argparse
import csv
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import astuple, fields
from itertools import chain
from pathlib import Path

from data.corpus.labels import LabelledOrder, read_folder
from data.corpus.snapshot import Split
from data.errors import BadInput, MingbianError
from data.settings import ROOT, Settings
from data.taxonomy import load_taxonomy
from models.bundle import PUBLISHERS, public_text, read_bundle
from models.encoder_classifier import EncoderClassifier
from models.rules import Rules
from training.assess import assess
from training.behaviours import judge_of, read_suite, run_suite, table
from training.encoder import make_encoder
from training.encoder_card import write_encoder_card
from training.examples import real_orders
from training.gate import FrozenSets, gate, gate_table
from training.label_quality import Suspect, suspects
from training.publisher import open_publisher_key
from training.recipe import SubjectRecipe, read_encoder_recipe, read_run_recipe
from training.reopened import reopen
from training.run import run
from training.subject_run import run_subjects
from training.yardsticks.measure import measure
from training.yardsticks.tasks import leave_one_region_out, public_tasks


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    try:
        return int(chosen.command(chosen, Settings()) or 0)
    except MingbianError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training", description="Make models.")
    commands = parser.add_subparsers(required=True)
    runner = commands.add_parser("run", help="train, calibrate, certify, evaluate and write a bundle (训练)")
    runner.add_argument("recipe", type=Path)
    runner.add_argument("--out", type=Path, help="where the bundle goes (default: the run's folder)")
    runner.set_defaults(command=_run)
    maker = commands.add_parser("pretrain", help="learn a vocabulary and an encoder from text (预训练)")
    maker.add_argument("recipe", type=Path)
    maker.add_argument("--out", type=Path, help="where the encoder goes (default: models/encoders/NAME)")
    maker.set_defaults(command=_pretrain)
    behave = commands.add_parser("behaviours", help="try what a bundle is able to do (行为测试)")
    behave.add_argument("bundle", type=Path, help="folder of the bundle")
    behave.set_defaults(command=_behaviours)
    gates = commands.add_parser("gate", help="may a challenger take the champion's place? (准入比较)")
    gates.add_argument("champion", type=Path, help="folder of the bundle in force")
    gates.add_argument("challenger", type=Path, help="folder of the bundle that would replace it")
    gates.add_argument("--regions", nargs="+", default=Split().test, help="labelled orders to compare on")
    gates.add_argument("--seed", type=int, default=0)
    gates.set_defaults(command=_gate)
    labels = commands.add_parser("labels", help="list labels worth a second look (标注复查)")
    labels.add_argument("--groups", nargs="+", default=["verdict", "kind", "subject"], metavar="GROUP")
    labels.add_argument("--out", type=Path, default=ROOT / "var" / "suspects.tsv")
    labels.set_defaults(command=_labels)
    assessor = commands.add_parser("assess", help="try a bundle on files of labelled orders (评估)")
    assessor.add_argument("bundle", type=Path, help="folder of the bundle")
    assessor.add_argument("--regions", nargs="+", required=True, help="files of labelled orders, by stem")
    assessor.set_defaults(command=_assess)
    opener = commands.add_parser("reopen", help="turn a bundle back into a model that trains on (续训)")
    opener.add_argument("bundle", type=Path, help="folder of the bundle")
    opener.add_argument("encoder", type=Path, help="folder of the encoder it was trained from")
    opener.add_argument("out", type=Path, help="where the model goes: what a recipe names as its encoder")
    opener.set_defaults(command=_reopen)
    yard = commands.add_parser("yardsticks", help="measure an encoder on public and authored tasks (评测)")
    yard.add_argument("encoder", type=Path, help="folder of the encoder")
    yard.add_argument("--tasks", nargs="+", default=[], metavar="NAME", help="how the tasks' names begin")
    yard.add_argument("--contenders", nargs="+", default=[], metavar="NAME")
    yard.add_argument("--seeds", type=int, default=3)
    yard.set_defaults(command=_yardsticks)
    return parser


def _run(chosen: argparse.Namespace, settings: Settings) -> None:
    recipe = read_run_recipe(chosen.recipe)
    folder = ROOT / "var" / "runs" / recipe.name
    if isinstance(recipe, SubjectRecipe):
        report = run_subjects(recipe, external=settings.external, folder=folder)
        print(report.read_text(encoding="utf-8"), report, sep="\n")
        return
    signer = open_publisher_key(settings.keys)
    _require_known(public_text(signer.public_key()))
    out = chosen.out or folder / "bundle"
    digest = run(recipe, external=settings.external, folder=folder, out=out, signer=signer)
    print(f"{out}\n{digest}")


def _pretrain(chosen: argparse.Namespace, settings: Settings) -> None:
    recipe = read_encoder_recipe(chosen.recipe)
    out = chosen.out or ROOT / "models" / "encoders" / recipe.name
    folder = ROOT / "var" / "encoders" / recipe.name
    figures = make_encoder(recipe, corpora=settings.corpora, folder=folder, out=out)
    (out / "CARD.md").write_text(write_encoder_card(out), encoding="utf-8")
    for name, held in figures["held_out"].items():
        print(f"{name:18} perplexity {held['perplexity']:8.1f}  top-1 {held['top1']:.3f}")
    print(out)


def _yardsticks(chosen: argparse.Namespace, settings: Settings) -> None:
    orders = read_folder(load_taxonomy())
    tasks = chain(leave_one_region_out(orders), public_tasks(settings.external))
    wanted = (task for task in tasks if not chosen.tasks or task.name.startswith(tuple(chosen.tasks)))
    measure(chosen.encoder, wanted, chosen.seeds, chosen.contenders)
    card = write_encoder_card(chosen.encoder)
    (chosen.encoder / "CARD.md").write_text(card, encoding="utf-8")


def _labels(chosen: argparse.Namespace, _: Settings) -> None:
    taxonomy = load_taxonomy()
    orders = read_folder(taxonomy)
    found = [suspect for group in chosen.groups for suspect in suspects(orders, group, taxonomy)]
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    with chosen.out.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter="\t", lineterminator="\n")
        rows.writerow(field.name for field in fields(Suspect))
        rows.writerows(map(astuple, found))
    for group in chosen.groups:
        print(f"{group}: {sum(suspect.group == group for suspect in found)} of {len(orders)}")
    print(chosen.out)


def _reopen(chosen: argparse.Namespace, _: Settings) -> None:
    reopen(read_bundle(chosen.bundle, load_taxonomy()), chosen.encoder, chosen.out)
    print(chosen.out)


def _behaviours(chosen: argparse.Namespace, _: Settings) -> None:
    taxonomy = load_taxonomy()
    model = EncoderClassifier(read_bundle(chosen.bundle, taxonomy))
    orders = [(order.title, order.content) for order in read_folder(taxonomy) if order.region == "w4"]
    print("\n".join(table(run_suite(judge_of(model), read_suite(taxonomy), orders))))


def _assess(chosen: argparse.Namespace, settings: Settings) -> None:
    taxonomy = load_taxonomy()
    orders = _orders_of(chosen.regions)
    bundle = read_bundle(chosen.bundle, taxonomy)
    lines = assess(bundle, orders, real_orders(settings.external), Rules.load(taxonomy), taxonomy)
    print("\n".join(lines))


def _gate(chosen: argparse.Namespace, settings: Settings) -> int:
    """1 when the challenger stays out, so that a script can ask."""
    taxonomy = load_taxonomy()
    champion, challenger = (read_bundle(at, taxonomy) for at in (chosen.champion, chosen.challenger))
    orders = _orders_of(chosen.regions)
    sets = FrozenSets(orders, real_orders(settings.external), read_suite(taxonomy))
    checks = gate(champion, challenger, sets, taxonomy, chosen.seed)
    print("\n".join(gate_table(checks)))
    return int(not all(check.passes for check in checks))


def _orders_of(regions: Sequence[str]) -> list[LabelledOrder]:
    orders = read_folder(load_taxonomy())
    if missing := sorted(set(regions) - {order.region for order in orders}):
        raise BadInput("regions_unknown", f"没有这些地区的标注工单：{'、'.join(missing)}")
    return [order for order in orders if order.region in regions]


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
