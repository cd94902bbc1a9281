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

from data.canonical import CANONICAL_VERSION
from data.corpus.labels import LabelledOrder, as_line, read_folder
from data.corpus.snapshot import Snapshot, Split, freeze, read_snapshot
from data.masking import MASKING_VERSION, read_text
from data.records import REASONABLE, Reading, Thresholds
from data.settings import ROOT
from data.taxonomy import Taxonomy, load_taxonomy
from models import bundle as bundles
from models.bundle import Bundle
from models.onnx_classifier import OnnxClassifier
from models.rules import Rules
from training import baseline
from training.baseline import Baseline
from training.behaviours import judge_of, read_suite, run_suite
from training.calibrate import fit_flag_temperature, fit_temperature
from training.card import CardFacts, write_card
from training.certify import certificate, certify_decline, certify_dispatch
from training.encoder import FIGURES, folder_digest, load_tokenizer
from training.evaluate import Scored, agreement, draw_plots, largest_gap, score
from training.examples import LabelSlices, authored, messages_digest, real_messages, real_orders
from training.export import export, load_classifier
from training.finetune import finetune
from training.flags import flag_figures, flag_threshold
from training.metrics import FALSE_FLAGS, REAL_FLAGS, recall_within
from training.recipe import Recipe
from training.stages import Stages
from training.style_leak import StyleLeak, style_leak

_PARITY_ORDERS = 64
_BEHAVIOUR_ORDERS = 150
_FP32_GAP = 1e-3
_INT8_AGREEMENT = 0.99


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
    label_slices = LabelSlices(taxonomy.groups, taxonomy.flag_codes)
    weak = recipe.finetune.weak_share > 0
    messages = real_messages(external, taxonomy) if weak else []
    classifier = stages.once(
        "classifier",
        f"{recipe.digest('finetune')} {folder_digest(encoder)} {_texts(snapshot)} "
        f"{MASKING_VERSION} {taxonomy.groups} {taxonomy.flag_codes} "
        f"{messages_digest(external) if weak else ''}",
        lambda at: finetune(
            recipe.finetune,
            encoder,
            tokenizer,
            [*authored(snapshot.train, taxonomy), *messages],
            label_slices,
            at,
            recipe.seed,
        ),
    )
    plain, small = export(classifier, folder / "graphs")

    # Everything from here on looks at the graph that will be served, not at the weights it came from.
    unfitted = _unfitted(recipe, tokenizer, taxonomy)
    fp32, int8 = (OnnxClassifier(replace(unfitted, graph=graph.read_bytes())) for graph in (plain, small))
    probe = [read_text(order.title, order.content).reading for order in snapshot.calibration[:_PARITY_ORDERS]]
    gap = largest_gap(load_classifier(classifier), fp32, tokenizer, probe, recipe.finetune.length)
    if gap >= _FP32_GAP:
        raise ArithmeticError(f"the exported graph differs from the model by {gap:.2e}")
    judged = [*snapshot.calibration, *snapshot.test]
    same = agreement(fp32, int8, judged)
    graph = small if same >= _INT8_AGREEMENT else plain

    raw = score(OnnxClassifier(replace(unfitted, graph=graph.read_bytes())), snapshot.calibration, taxonomy)
    temperatures = {
        group: fit_temperature(raw.logits[group], _targets(snapshot.calibration, group, taxonomy))
        for group in taxonomy.groups
    }
    temperatures["flags"] = fit_flag_temperature(raw.logits["flags"], raw.raised)
    fitted = replace(unfitted, graph=graph.read_bytes(), temperatures=temperatures)
    model = OnnxClassifier(fitted)
    calibration, test = (score(model, part, taxonomy) for part in (snapshot.calibration, snapshot.test))
    flags = {
        code: flag_threshold(calibration.flags[:, place], calibration.raised[:, place])
        for place, code in enumerate(taxonomy.flag_codes)
    }
    promise = _promise(recipe, calibration, snapshot)

    linear = baseline.fit(snapshot, taxonomy)
    real = real_orders(external)
    p_real = np.array([prediction.p_unreasonable for prediction in model.classify(real)])
    facts = CardFacts(
        recipe=recipe,
        snapshot=snapshot,
        graph=graph.stem,
        graph_bytes=graph.stat().st_size,
        fp32_gap=gap,
        int8_agreement=same,
        temperatures=temperatures,
        certificate=promise,
        pretraining=_figures(encoder / FIGURES),
        test=test.metrics(),
        test_calibration_error=test.calibration_error(),
        baseline=linear.metrics(snapshot.test),
        real_orders=len(real),
        flags={
            code: flag_figures(test.flags[:, place] >= flags[code], test.raised[:, place])
            for place, code in enumerate(taxonomy.flag_codes)
        },
        recall_within=_recall_within(test, real, p_real, linear),
        leak=_leak((calibration, test), p_real),
        behaviours=run_suite(
            judge_of(model),
            read_suite(taxonomy),
            [(order.title, order.content) for order in snapshot.test[:_BEHAVIOUR_ORDERS]],
        ),
    )
    draw_plots(test, folder / "plots", taxonomy, linear.p_unreasonable(snapshot.test))
    return bundles.write_bundle(
        out,
        recipe.name,
        {
            bundles.GRAPH: fitted.graph,
            bundles.TOKENIZER: fitted.tokenizer.encode(),
            bundles.SETTINGS: _json(
                {
                    "label_groups": taxonomy.groups,
                    "temperatures": temperatures,
                    "flag_thresholds": flags,
                    "base_rate": float(calibration.unreasonable.mean()),
                    "max_tokens": recipe.finetune.length,
                }
            ),
            bundles.CERTIFICATE: _json(promise),
            bundles.CARD: write_card(facts).encode(),
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


def _recall_within(
    test: Scored, real: Sequence[Reading], p_real: NDArray[np.float64], linear: Baseline
) -> tuple[float | None, float | None]:
    """Of the model and of the baseline, where there are real orders to keep from flagging."""
    if not real:
        return None, None
    scores = (
        (test.p_unreasonable, p_real),
        (linear.p_unreasonable(test.orders), linear.p_of_readings(real)),
    )
    first, second = (
        recall_within(test.unreasonable, here, there, false_share=FALSE_FLAGS, real_share=REAL_FLAGS)
        for here, there in scores
    )
    return first, second


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


def _promise(recipe: Recipe, calibration: Scored, snapshot: Snapshot) -> dict[str, Any]:
    plan = recipe.certificate
    each = 1.0 - (1.0 - plan.confidence) / 2  # two bounds hold together at the joint confidence
    reasonable = np.array([order.verdict == REASONABLE for order in calibration.orders])
    return certificate(
        certify_decline(calibration.p_unreasonable[reasonable], plan.decline_risk, each),
        certify_dispatch(calibration.p_unreasonable[~reasonable], plan.dispatch_risk, each),
        snapshot=snapshot.digest,
        regions=recipe.split.calibration,
    )


def _figures(path: Path) -> dict[str, Any]:
    """What pretraining wrote of itself; nothing for an encoder from elsewhere."""
    if not path.exists():
        return {}
    figures: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return figures


def _json(value: object) -> bytes:
    return (json.dumps(value, ensure_ascii=False, indent=1) + "\n").encode()
