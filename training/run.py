"""One run from files on disk to a signed bundle, read top to bottom; `python -m training run` calls it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray
from tokenizers import Tokenizer
from tqdm import tqdm

from data.canonical import CANONICAL_VERSION
from data.corpus.labels import LabelledOrder, as_line, read_folder
from data.corpus.readings import READINGS, read_readings
from data.corpus.snapshot import Snapshot, Split, freeze, read_snapshot
from data.masking import MASKING_VERSION
from data.records import Prediction, Reading, Thresholds
from data.settings import ROOT
from data.taxonomy import Taxonomy, load_taxonomy
from models import bundle as bundles
from models.bundle import Bundle
from models.encoder_classifier import EncoderClassifier
from models.rules import Rules
from training import baseline
from training.behaviours import judge_of, read_suite, run_suite
from training.calibrate import fit_flag_temperature, fit_temperature
from training.card import CardFacts, write_card
from training.encoder import FIGURES, folder_digest, load_tokenizer
from training.evaluate import Scored, score
from training.examples import (
    Example,
    LabelSlices,
    authored,
    held_back,
    messages_digest,
    real_messages,
    real_orders,
)
from training.finetune import finetune
from training.flags import flag_figures, flag_threshold
from training.graphs import served_graph
from training.metrics import FALSE_FLAGS, REAL_FLAGS, recall_within
from training.plots import Costs, draw_plots
from training.promises import crossed, promised
from training.public_record import write_public_record
from training.read_messages import read_flags, read_messages
from training.recipe import Recipe
from training.report import write_report
from training.slices import slices
from training.stages import Stages
from training.style_leak import StyleLeak, style_leak

_BEHAVIOUR_ORDERS = 150
_SHOWN_AT_ONCE = 100  # texts between two moves of the progress bar


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
    stages = Stages(folder)
    snapshot = _frozen(recipe, taxonomy, folder / "snapshot")
    encoder = ROOT / recipe.encoder
    tokenizer = load_tokenizer(encoder)
    weak = recipe.finetune.weak_share > 0
    messages, kept = _messages(recipe, external, taxonomy) if weak else ([], [])
    classifier = stages.once(
        "classifier",
        f"{recipe.digest('finetune')} {recipe.certificate.real_share} {folder_digest(encoder)} "
        f"{_texts(snapshot)} {MASKING_VERSION} {taxonomy.groups} {taxonomy.flag_codes} "
        f"{messages_digest(external) if weak else ''}{_readings_digest() if recipe.readings else ''}",
        lambda at: finetune(
            recipe.finetune,
            encoder,
            tokenizer,
            [*authored(snapshot.train, taxonomy), *messages],
            LabelSlices(taxonomy.groups, taxonomy.flag_codes),
            at,
            recipe.seed,
        ),
    )

    # Everything from here on looks at the graph that will be served, not at the weights it came from.
    unfitted = _unfitted(recipe, tokenizer, taxonomy)
    judged = [*snapshot.calibration, *snapshot.test]
    graph = served_graph(classifier, unfitted, tokenizer, judged, folder / "graphs")
    fitted = _with_temperatures(replace(unfitted, graph=graph.content), snapshot, taxonomy)
    model = EncoderClassifier(fitted)
    calibration, test = (score(model, part, taxonomy) for part in (snapshot.calibration, snapshot.test))
    of_kept = _predictions(model, [each.reading for each in kept])
    flags = {
        code: flag_threshold((calibration.flags[:, place], calibration.raised[:, place]), of_messages)
        for place, (code, of_messages) in enumerate(
            zip(taxonomy.flag_codes, read_flags(kept, of_kept, taxonomy), strict=True)
        )
    }
    promise, broken = promised(recipe, calibration, kept, of_kept)
    promise["snapshot"] = snapshot.digest

    linear = baseline.fit(snapshot, taxonomy)
    real = real_orders(external)
    p_real = np.array([each.p_unreasonable for each in _predictions(model, real)])
    ours = Costs(test.p_unreasonable, p_real)
    theirs = Costs(linear.p_unreasonable(test.orders), linear.p_of_readings(real) if real else np.zeros(0))
    facts = CardFacts(
        recipe=recipe,
        snapshot=snapshot,
        graph=graph,
        temperatures=fitted.temperatures,
        certificate=promise,
        broken=broken,
        pretraining=_figures(encoder / FIGURES),
        test=test.metrics(),
        test_calibration_error=test.calibration_error(),
        baseline=linear.metrics(snapshot.test),
        real_orders=len(real),
        flags={
            code: flag_figures(test.flags[:, place] >= flags[code], test.raised[:, place])
            for place, code in enumerate(taxonomy.flag_codes)
        },
        read=read_messages(kept, of_kept, flags, taxonomy),
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
            bundles.GRAPH: fitted.graph,
            bundles.TOKENIZER: fitted.tokenizer.encode(),
            bundles.SETTINGS: _json(
                {
                    "label_groups": taxonomy.groups,
                    "temperatures": fitted.temperatures,
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
            "rules": Rules.load(taxonomy).version,
            "canonical": CANONICAL_VERSION,
            "masking": MASKING_VERSION,
            "snapshot": snapshot.digest,
        },
        signer,
    )


def _frozen(recipe: Recipe, taxonomy: Taxonomy, out: Path) -> Snapshot:
    shutil.rmtree(out, ignore_errors=True)  # frozen anew: the same labels give the same bytes
    split = Split(recipe.split.train, recipe.split.calibration, recipe.split.test)
    freeze(read_folder(taxonomy), split, out, taxonomy)
    return read_snapshot(out, taxonomy)


def _texts(snapshot: Snapshot) -> str:
    """What the stages read of a snapshot; its digest moves with a policy's wording too, which they do not."""
    lines = "".join(map(as_line, snapshot.train))
    return f"{hashlib.sha256(lines.encode()).hexdigest()} {CANONICAL_VERSION}"


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


def _targets(orders: tuple[LabelledOrder, ...], group: str, taxonomy: Taxonomy) -> NDArray[np.int64]:
    codes = taxonomy.groups[group]
    return np.array([codes.index(getattr(order, group)) for order in orders])


def _unfitted(recipe: Recipe, tokenizer: Tokenizer, taxonomy: Taxonomy) -> Bundle:
    """A bundle in memory with temperatures of one: what calibration looks at."""
    return Bundle(
        name=recipe.name,
        digest="",
        graph=b"",
        tokenizer=tokenizer.to_str(),
        label_groups=taxonomy.groups,
        base_rate=0.5,
        temperatures=dict.fromkeys((*taxonomy.groups, "flags"), 1.0),
        max_tokens=recipe.finetune.length,
        thresholds=Thresholds(None, None, dict.fromkeys(taxonomy.flag_codes, 1.0)),
        certificate={},
        certificate_digest="",
        versions={},
        card="",
    )


def _with_temperatures(unfitted: Bundle, snapshot: Snapshot, taxonomy: Taxonomy) -> Bundle:
    raw = score(EncoderClassifier(unfitted), snapshot.calibration, taxonomy)
    temperatures = {
        group: fit_temperature(raw.logits[group], _targets(snapshot.calibration, group, taxonomy))
        for group in taxonomy.groups
    }
    temperatures["flags"] = fit_flag_temperature(raw.logits["flags"], raw.raised)
    return replace(unfitted, temperatures=temperatures)


def _messages(recipe: Recipe, external: Path, taxonomy: Taxonomy) -> tuple[list[Example], list[Example]]:
    """Real messages that train, and those kept to calibrate on, where a reader's word always counts."""
    share = recipe.certificate.real_share
    read = real_messages(external, taxonomy, read_readings())
    training = read if recipe.readings else real_messages(external, taxonomy)
    return held_back(training, share)[0], held_back(read, share)[1]


def _readings_digest() -> str:
    return hashlib.sha256(READINGS.read_bytes()).hexdigest()


def _predictions(model: EncoderClassifier, readings: Sequence[Reading]) -> list[Prediction]:
    found: list[Prediction] = []
    with tqdm(total=len(readings), desc="real texts", unit="text", disable=not readings) as bar:
        for start in range(0, len(readings), _SHOWN_AT_ONCE):
            found += model.classify(readings[start : start + _SHOWN_AT_ONCE])
            bar.update(len(found) - bar.n)
    return found


def _figures(path: Path) -> dict[str, Any]:
    """What pretraining wrote of itself; nothing for an encoder from elsewhere."""
    if not path.exists():
        return {}
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
