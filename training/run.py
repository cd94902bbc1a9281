"""One run from files on disk to a signed bundle, read top to bottom; `python -m training run` calls it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from data.canonical import CANONICAL_VERSION
from data.corpus.labels import read_folder
from data.corpus.readings import read_readings
from data.corpus.snapshot import Snapshot, Split, freeze, read_snapshot
from data.masking import MASKING_VERSION
from data.settings import ROOT
from data.taxonomy import Taxonomy, load_taxonomy
from models import bundle as bundles
from models.char_ngrams import CharNgrams, read_char_ngrams
from models.encoder_classifier import EncoderClassifier
from models.precedents import Precedents
from models.rules import Rules
from training import baseline
from training.assess import flags_of
from training.behaviours import judge_of, read_suite, run_suite
from training.card import CardFacts, write_card
from training.char_ngrams import fit_char_ngrams
from training.encoder import FIGURES, folder_digest, load_tokenizer
from training.evaluate import Scored, predictions, score
from training.examples import (
    Example,
    LabelSlices,
    authored,
    examples_digest,
    held_back,
    real_messages,
    real_orders,
)
from training.finetune import finetune
from training.fitted_bundle import fitted, unfitted
from training.flags import flag_threshold
from training.graphs import served_graph
from training.metrics import FALSE_FLAGS, REAL_FLAGS, recall_within
from training.plots import Costs, draw_plots
from training.precedents import PrecedentFigures, fit_precedents, precedent_figures, states_of
from training.promises import crossed, promised
from training.public_record import write_public_record
from training.read_messages import read_flags, read_messages
from training.recipe import Recipe
from training.reopened import REOPENED
from training.report import write_report
from training.slices import slices
from training.stages import Stages
from training.style_leak import StyleLeak, style_leak

_BEHAVIOUR_ORDERS = 150


def run(recipe: Recipe, *, external: Path, folder: Path, out: Path, signer: Ed25519PrivateKey) -> str:
    """Train, calibrate, certify, evaluate and write the bundle to `out`; return its digest.

    Args:
        external: folder with the real messages; not read when the recipe uses none.
        folder: where the run keeps its stages, so that a second call resumes.

    Raises:
        NotFound: the named encoder, or a file of real messages, is missing.
        BadInput: the labels are broken, or too few to calibrate on.
        ArithmeticError: the exported graph does not compute what the model computes.
    """
    taxonomy = load_taxonomy()
    rules = Rules.load(taxonomy)
    stages = Stages(folder)
    snapshot = _frozen(recipe, taxonomy, folder / "snapshot")
    encoder = ROOT / recipe.encoder
    tokenizer = load_tokenizer(encoder)
    weak = recipe.finetune.weak_share > 0
    messages, kept = _messages(recipe, external, taxonomy) if weak else ([], [])
    rehearsal = recipe.finetune.rehearsal
    learned = rehearsal.files if rehearsal else ()
    examples = [*authored(snapshot.train, taxonomy, learned), *messages]
    labels = LabelSlices(taxonomy.groups, taxonomy.flag_codes)
    learned_from = f"{labels} {examples_digest(examples)}"
    classifier = stages.once(
        "classifier",
        f"{recipe.digest('finetune')} {folder_digest(encoder)} {learned_from}",
        lambda at: finetune(recipe.finetune, encoder, tokenizer, examples, labels, at, recipe.seed),
    )
    ngrams = _ngrams(recipe, examples, labels, stages, learned_from)

    # Everything from here on looks at the graph that will be served, not at the weights it came from.
    empty = unfitted(recipe, tokenizer, taxonomy)
    judged = [*snapshot.calibration, *snapshot.test]
    graph = served_graph(classifier, empty, tokenizer, judged, folder / "graphs")
    bundle, encoder_alone = fitted(
        replace(empty, graph=graph.content),
        ngrams,
        authored(snapshot.calibration, taxonomy),
        [each for each in kept if each.flags is not None],  # the ones that somebody has read
        taxonomy,
    )
    model = EncoderClassifier(bundle)
    calibration, test = (score(model, part, taxonomy) for part in (snapshot.calibration, snapshot.test))
    of_kept = predictions(model, [each.reading for each in kept])
    precedents, precedent_facts = _precedents(recipe, model, snapshot)
    flags = {
        code: flag_threshold((calibration.flags[:, place], calibration.raised[:, place]), messages_flagged)
        for place, (code, messages_flagged) in enumerate(
            zip(taxonomy.flag_codes, read_flags(kept, of_kept, taxonomy), strict=True)
        )
    }
    promise, broken = promised(recipe, calibration, kept, of_kept)
    promise["snapshot"] = snapshot.digest

    linear = baseline.fit(snapshot, taxonomy)
    real = real_orders(external)
    p_real = np.array([each.p_unreasonable for each in predictions(model, real)])
    ours = Costs(test.p_unreasonable, p_real)
    theirs = Costs(linear.p_unreasonable(test.orders), linear.p_of_readings(real) if real else np.zeros(0))
    facts = CardFacts(
        recipe=recipe,
        snapshot=snapshot,
        graph=graph,
        bundle=bundle,
        certificate=promise,
        broken=broken,
        pretraining=_figures(encoder / FIGURES),
        reopened=_figures(encoder / REOPENED),
        test=test.metrics(),
        test_calibration_error=test.calibration_error(),
        baseline=linear.metrics(snapshot.test),
        encoder_alone=(
            None
            if ngrams is None
            else score(EncoderClassifier(encoder_alone), snapshot.test, taxonomy).metrics()
        ),
        real_orders=len(real),
        flags=flags_of(test, flags, rules),
        read=read_messages(kept, of_kept, flags, rules, taxonomy),
        precedents=precedent_facts,
        recall_within=(_recall_within(test, ours), _recall_within(test, theirs)),
        crossed=crossed(promise, test, p_real),
        slices=slices(test.orders, test.p_unreasonable, p_real),
        leak=_leak((calibration, test), p_real),
        behaviours=run_suite(
            judge_of(model),
            read_suite(taxonomy),
            [(order.title, order.content) for order in snapshot.test[:_BEHAVIOUR_ORDERS]],
        ),
    )
    plots = folder / "plots"
    draw_plots(test, plots, taxonomy, ours, theirs)
    card = write_card(facts)
    (folder / "REPORT.html").write_text(write_report(card, test, plots), encoding="utf-8")
    return bundles.write_bundle(
        out,
        recipe.name,
        {
            bundles.GRAPH: bundle.graph,
            **({bundles.NGRAMS: bundle.ngrams} if bundle.ngrams else {}),
            **({bundles.PRECEDENTS: precedents.content()} if precedents else {}),
            bundles.TOKENIZER: bundle.tokenizer.encode(),
            bundles.SETTINGS: _json(
                {
                    "label_groups": taxonomy.groups,
                    "temperatures": bundle.temperatures,
                    "ngram_weights": bundle.ngram_weights,
                    "flag_thresholds": flags,
                    "base_rate": float(calibration.unreasonable.mean()),
                    "max_tokens": recipe.finetune.length,
                }
            ),
            bundles.CERTIFICATE: _json(promise),
            bundles.CARD: card.encode(),
            bundles.PUBLIC_RECORD: write_public_record(facts).encode(),
        },
        {
            "taxonomy": taxonomy.version,
            "rules": rules.version,
            "canonical": CANONICAL_VERSION,
            "masking": MASKING_VERSION,
            "snapshot": snapshot.digest,
        },
        signer,
    )


def _ngrams(
    recipe: Recipe, examples: Sequence[Example], labels: LabelSlices, stages: Stages, learned_from: str
) -> CharNgrams | None:
    plan = recipe.ngrams
    if plan is None:
        return None
    at = stages.once(
        "ngrams",
        f"{recipe.digest('ngrams')} {learned_from}",
        lambda at: (at / bundles.NGRAMS).write_bytes(fit_char_ngrams(plan, examples, labels).content()),
    )
    return read_char_ngrams((at / bundles.NGRAMS).read_bytes(), labels.width)


def _precedents(
    recipe: Recipe, model: EncoderClassifier, snapshot: Snapshot
) -> tuple[Precedents | None, PrecedentFigures | None]:
    plan = recipe.precedents
    if plan is None:
        return None, None
    trained, test = (states_of(model, part) for part in (snapshot.train, snapshot.test))
    precedents = fit_precedents(trained, snapshot.train, plan.dimensions, recipe.seed)
    return precedents, precedent_figures(precedents, snapshot.train, test, snapshot.test)


def _frozen(recipe: Recipe, taxonomy: Taxonomy, out: Path) -> Snapshot:
    shutil.rmtree(out, ignore_errors=True)  # frozen anew: the same labels give the same bytes
    split = Split(recipe.split.train, recipe.split.calibration, recipe.split.test)
    freeze(read_folder(taxonomy), split, out, taxonomy)
    return read_snapshot(out, taxonomy)


def _recall_within(test: Scored, costs: Costs) -> float | None:
    """Where there are real orders to keep from flagging."""
    if not len(costs.real):
        return None
    return recall_within(
        test.unreasonable, costs.orders, costs.real, false_share=FALSE_FLAGS, real_share=REAL_FLAGS
    )


def _leak(parts: Sequence[Scored], p_real: NDArray[np.float64]) -> StyleLeak:
    orders = [order for part in parts for order in part.orders]
    scores = np.concatenate([part.p_unreasonable for part in parts])
    reasonable = np.array([not order.unreasonable for order in orders])
    regions = np.array([order.region for order in orders])
    return style_leak(scores[reasonable], regions[reasonable], p_real)


def _messages(recipe: Recipe, external: Path, taxonomy: Taxonomy) -> tuple[list[Example], list[Example]]:
    """Real messages that train, and those kept to calibrate on, where a reader's word always counts."""
    share = recipe.certificate.real_share
    read = real_messages(external, taxonomy, read_readings())
    training = read if recipe.readings else real_messages(external, taxonomy)
    return held_back(training, share)[0], held_back(read, share)[1]


def _figures(path: Path) -> dict[str, Any]:
    """What a pretraining or a reopening wrote of itself; nothing for an encoder that had none."""
    if not path.exists():
        return {}
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
