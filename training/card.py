"""The model card that travels in a bundle; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from data.corpus.snapshot import Snapshot
from models.bundle import Bundle
from training.behaviours import Capability, table
from training.flags import FlagFigures
from training.graphs import ServedGraph
from training.metrics import Metrics
from training.precedents import PrecedentFigures
from training.promises import Crossed
from training.read_messages import ReadMessages
from training.recipe import Recipe
from training.slices import Slice
from training.style_leak import StyleLeak
from training.tables import flag_table, shown, slice_table

_NAMES = {
    "verdict_auc": "verdict AUC",
    "verdict_accuracy": "verdict accuracy at 0.5",
    "recall_at_2pct": "recall of unreasonable at 2 % false flags",
    "ground_macro_f1": "ground macro-F1",
    "kind_macro_f1": "kind macro-F1",
    "kind_accuracy": "kind accuracy",
    "subject_macro_f1": "subject macro-F1",
    "subject_accuracy": "subject accuracy",
    "pairs_ordered": "contrast pairs ordered rightly",
}


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything a card states; nothing in it is typed by hand."""

    recipe: Recipe
    snapshot: Snapshot
    graph: ServedGraph
    bundle: Bundle
    certificate: Mapping[str, Any]
    broken: tuple[float, float]
    pretraining: Mapping[str, Any]
    reopened: Mapping[str, str]
    test: Metrics
    test_calibration_error: float
    baseline: Metrics
    encoder_alone: Metrics | None
    flags: Mapping[str, FlagFigures]
    read: ReadMessages | None
    precedents: PrecedentFigures | None
    real_orders: int
    recall_within: tuple[float | None, float | None]
    crossed: Crossed | None
    slices: Sequence[Slice]
    leak: StyleLeak
    behaviours: Sequence[Capability]


def write_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    recipe, snapshot = facts.recipe, facts.snapshot
    return "\n".join(
        [
            f"# Model card: {recipe.name}",
            "",
            "Predicts, for one Chinese 12345 work order, the verdict (reasonable or one of 15 grounds),",
            "the kind and the subject. A person confirms every adverse outcome; the model only recommends.",
            "",
            f"Made by `python -m training run training/recipes/{recipe.name}.toml`, which also makes",
            "every figure below. A run on other hardware may differ in the last digits.",
            "",
            "## Data",
            "",
            "Labelled orders, written for this project:",
            "",
            f"- train: {len(snapshot.train)} ({', '.join(recipe.split.train)})",
            f"- calibration: {len(snapshot.calibration)} ({', '.join(recipe.split.calibration)})",
            f"- test: {len(snapshot.test)} ({', '.join(recipe.split.test)})",
            "",
            f"A region stands in one part only. Snapshot `{snapshot.digest}`.",
            *_weak(facts),
            "",
            *_encoder(facts),
            "",
            f"## Figures on the test region ({', '.join(recipe.split.test)}, {facts.test.orders} orders)",
            "",
            "| figure | this model | its encoder alone | TF-IDF + linear |",
            "|---|---|---|---|",
            *_rows(facts.test, facts.encoder_alone or facts.test, facts.baseline),
            f"| expected calibration error of the verdict | {facts.test_calibration_error:.3f} | | |",
            f"| recall at 2 % false flags here and 0.1 % of {facts.real_orders} real orders "
            f"| {shown(facts.recall_within[0])} | | {shown(facts.recall_within[1])} |",
            "",
            *slice_table(facts.slices),
            "",
            *_leak(facts.leak),
            "",
            "Flags on the same orders. In service the rules raise them too, and either is enough:",
            "",
            *flag_table(facts.flags),
            "",
            *_read(facts.read),
            *_precedents(facts.precedents),
            "## Behaviours",
            "",
            "Twins and directions are written by hand and train nothing; invariances are tried on orders of",
            "the test region. `python -m training behaviours FOLDER` runs them on any bundle.",
            "",
            *table(facts.behaviours),
            "",
            "## Certificate",
            "",
            *_certificate(facts),
            "",
            "## Graph",
            "",
            f"- `{facts.graph.name}` is shipped: {len(facts.graph.content) / 1e6:.1f} MB",
            f"- fp32 against the weights: max |Δlogit| {facts.graph.fp32_gap:.1e}",
            f"- int8 against fp32: same verdict on {facts.graph.int8_agreement:.2%} of "
            f"{len(snapshot.calibration) + len(snapshot.test)} orders",
            *_scales(facts.bundle),
            "",
            "## Limits",
            "",
            "- The labelled orders were written, not drawn from calls: the model knows that style best.",
            "- Almost all real calls are reasonable: the real orders above are taken to be so, unread.",
            "- Past the token limit the encoder reads for flags alone; such orders go to a person.",
            "",
        ]
    )


def _read(read: ReadMessages | None) -> Iterable[str]:
    if read is None:
        return
    kind = f"kind accuracy {read.kind_accuracy:.3f}, macro-F1 {read.kind_macro_f1:.3f}"
    yield f"On {read.messages} real messages that one reader labelled; they trained no weights and only set"
    yield f"temperatures, the n-grams' share and the flags' thresholds: {kind};"
    yield f"subject accuracy {read.subject_accuracy:.3f}. Two careful readers agree on 0.949 of kinds and"
    yield "0.973 of subjects of such messages."
    yield ""
    yield from flag_table(read.flags)
    yield ""


def _precedents(figures: PrecedentFigures | None) -> Iterable[str]:
    if figures is None:
        return
    yield "What the nearest precedent of its own side, among the orders that trained, shares with an order of"
    yield "the test region:"
    yield ""
    yield "| shared | nearest by the encoder | by TF-IDF |"
    yield "|---|---|---|"
    yield f"| the subject | {figures.subject:.3f} | {figures.subject_by_words:.3f} |"
    yield f"| the ground, of unreasonable orders | {figures.ground:.3f} | {figures.ground_by_words:.3f} |"
    yield ""


def _leak(leak: StyleLeak) -> list[str]:
    lines = [
        "Source told from the score of reasonable orders alone (AUC; 0.5: not at all, gate at 0.75): "
        f"{'passes' if leak.passes else '**fails**'}.",
        f"- authored from real orders: {shown(leak.authored)}",
    ]
    if leak.regions is not None:
        lines.append(f"- the region that stands out most, {leak.regions[0]}: {leak.regions[1]:.3f}")
    return lines


def _weak(facts: CardFacts) -> list[str]:
    plan = facts.recipe.finetune
    if not plan.weak_share:
        return ["No real caller's order trained it."]
    return [
        f"Real messages to leaders (the tipdm contest's) are {plan.weak_share:.0%} of the texts in training,",
        "as a reader labelled them (`data/corpus/READINGS.tsv`)."
        if facts.recipe.readings
        else "presumed reasonable, with the contest's subject where there is one.",
        "None of them is in the repository.",
    ]


def _encoder(facts: CardFacts) -> list[str]:
    figures = facts.pretraining
    name = facts.reopened.get("encoder", Path(facts.recipe.encoder).name)
    if figures:
        lines = [
            f"Starts from the encoder `{name}` ({figures['parameters'] / 1e6:.1f}M parameters), pretrained "
            f"on {figures['tokens_seen'] / 1e6:.0f}M",
            "tokens; its own card names sources, licence tiers and yardsticks.",
        ]
    else:
        lines = [f"The encoder was not trained here: `{name}`."]
    lines += _continued(facts)
    lines.append(f"It reads up to {facts.recipe.finetune.length} pieces of a text.")
    if facts.bundle.ngrams:
        lines += [
            "Beside it a linear model scores runs of one to four characters; both scores are added, weighted",
            "and scaled as they make the labels of the calibration part likeliest, and for kind, subject and",
            "flags those of read messages too.",
        ]
    return lines


def _continued(facts: CardFacts) -> Iterable[str]:
    """What this training added to a bundle that was there; nothing where it is the first."""
    plan = facts.recipe.finetune
    if facts.reopened:
        yield f"Training went on from the weights of bundle `{facts.reopened['bundle']}`,"
        yield f"as its graph has them, for {plan.epochs} epochs."
        if plan.frozen:
            yield f"The embeddings and the lowest {plan.frozen} layers stayed as they were."
        if plan.rehearsal:
            known = f"the {len(plan.rehearsal.files)} files that bundle knew."
            yield f"An epoch saw {plan.rehearsal.share:.0%} of {known}"


def _rows(*models: Metrics) -> Iterable[str]:
    for field in fields(Metrics):
        if field.name in _NAMES:
            figures = (shown(getattr(model, field.name)) for model in models)
            yield f"| {_NAMES[field.name]} | {' | '.join(figures)} |"


def _scales(bundle: Bundle) -> Iterable[str]:
    for group, temperature in bundle.temperatures.items():
        weight = bundle.ngram_weights.get(group)
        beside = "" if weight is None else f", the n-grams' scores counting {weight:.3f} beside the encoder's"
        yield f"- temperature of {group}: {temperature:.3f}{beside}"


def _certificate(facts: CardFacts) -> Iterable[str]:
    certificate = facts.certificate
    for name, sign, broken in zip(("decline", "dispatch"), "≥≤", facts.broken, strict=True):
        bound = certificate[name]
        if bound["threshold"] is None:
            yield f"- **{name}: none.** No threshold keeps every promise:"
        else:
            yield (
                f"- **{name} at P(unreasonable) {sign} {bound['threshold']:.6f}**, at confidence "
                f"{bound['confidence']:.1%}. Of 1,000 redrawn calibrations {broken:.1%} break it."
            )
        for promise in bound["promises"]:
            yield (
                f"  - at most {promise['risk']:.1%} of {promise['bounds']}: {promise['errors']} of "
                f"{promise['orders']}, bound {promise['upper_bound']:.3%} ({promise['source']})"
            )
    if separate := certificate.get("separately"):
        listed = ", ".join(f"{line['code']} {line['upper_bound']:.2%}" for line in separate)
        yield f"- Wrong declines by subject, and by the ground that would be given, each by itself: {listed}."
    crossed = facts.crossed
    if crossed is not None:
        real = "" if crossed.real is None else f", {crossed.real:.2%} of {facts.real_orders} real orders"
        yield (
            "- What the thresholds do on orders that they never saw: recommend to decline "
            f"{crossed.found:.1%} of the unreasonable and {crossed.look_alikes:.1%} of the reasonable ones "
            f"of the test{real}; dispatch {crossed.waved_through:.1%} of the reasonable and "
            f"{crossed.missed:.1%} of the unreasonable ones."
        )
    yield f"- Method: {certificate['method']}. {certificate['limits']}"
