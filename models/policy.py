"""From what the model and the rules say to what happens: pure, and the only place where it is decided.

`models/triage.py` calls it. The house rules it keeps are numbered as in DECISIONS.md, "Dispositions".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from data.records import (
    REASONABLE,
    Decision,
    Disposition,
    FallbackReason,
    Prediction,
    RuleHit,
    Thresholds,
    Verdict,
    Versions,
)
from data.taxonomy import Taxonomy
from models.notices import notice

NO_SUBSTANCE = "no_substance"


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that one decision may rest on; `prediction` is None exactly when `fallback` says why."""

    prediction: Prediction | None
    rule_hits: tuple[RuleHit, ...]
    traditional: bool
    fallback: FallbackReason | None
    thresholds: Thresholds
    versions: Versions


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is recommended, what happens now, and why a person must look (none: nobody must)."""

    recommended: Disposition
    disposition: Disposition
    review_reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the order is taken to be, before anything is done about it."""

    verdict: Verdict
    ground: str | None
    kind: str | None
    subject: str | None
    p_unreasonable: float | None

    @property
    def confidence(self) -> float | None:
        """The calibrated probability of the verdict; None where rules answered."""
        if self.p_unreasonable is None:
            return None
        return self.p_unreasonable if self.verdict == "unreasonable" else 1.0 - self.p_unreasonable


def decide(evidence: Evidence, taxonomy: Taxonomy, *, auto_decline: bool, decided_at: datetime) -> Decision:
    """The decision on one order. Rules protect and, without a model, suggest; they change no probability."""
    flags = _flags(evidence, taxonomy)
    finding = _found(evidence)
    outcome = _urgent(finding, evidence, flags, taxonomy) or _weighed(
        finding, evidence, flags, taxonomy, auto_decline
    )
    prediction = evidence.prediction
    return Decision(
        decided_at=decided_at,
        source="rules" if prediction is None else "model",
        verdict=finding.verdict,
        ground=finding.ground,
        kind=finding.kind,
        subject=finding.subject,
        p_unreasonable=finding.p_unreasonable,
        confidence=finding.confidence,
        flags=flags,
        recommended=outcome.recommended,
        disposition=outcome.disposition,
        review_reasons=_with_circumstances(outcome.review_reasons, evidence),
        rule_hits=evidence.rule_hits,
        thresholds=evidence.thresholds,
        prediction=prediction,
        versions=evidence.versions,
        truncated=prediction is not None and prediction.truncated,
        traditional=evidence.traditional,
        fallback=evidence.fallback,
        notice=notice(outcome.recommended, finding.ground, taxonomy),
    )


def _found(evidence: Evidence) -> Finding:
    if evidence.prediction is not None:
        prediction = evidence.prediction
        p = prediction.p_unreasonable
        unreasonable = p >= 0.5
        return Finding(
            verdict="unreasonable" if unreasonable else "reasonable",
            ground=prediction.likeliest_ground if unreasonable else None,
            kind=_likeliest(prediction.kind),
            subject=_likeliest(prediction.subject),
            p_unreasonable=p,
        )
    suggested = next((hit.ground for hit in evidence.rule_hits if hit.ground is not None), None)
    return Finding("unreasonable" if suggested else "reasonable", suggested, None, None, None)


def _urgent(
    finding: Finding, evidence: Evidence, flags: tuple[str, ...], taxonomy: Taxonomy
) -> Outcome | None:
    """A life in danger is sent on at once, and a person looks as well, whatever the verdict (rule 2).

    Where the model alone sees the danger, a person looks first, before everything else in the queue:
    its flags are too often wrong to send an ambulance by.
    """
    urgent = {code for code in flags if taxonomy.flag(code).transfers}
    if not urgent:
        return None
    reasons = ["urgent"]
    if finding.verdict == "unreasonable":
        reasons.append("protective_flag")
    by_rule = urgent & {hit.flag for hit in evidence.rule_hits}
    return Outcome("transfer", "transfer" if by_rule else "review", tuple(reasons))


def _weighed(
    finding: Finding, evidence: Evidence, flags: tuple[str, ...], taxonomy: Taxonomy, auto_decline: bool
) -> Outcome:
    thresholds = evidence.thresholds
    p = finding.p_unreasonable
    recommended = _recommended(finding, thresholds)
    reasons: list[str] = []
    if p is not None and thresholds.decline is None and thresholds.dispatch is None:
        reasons.append("no_certificate")  # rule 7
    elif recommended in ("explain", "ask_again"):
        reasons.extend(_against_declining(finding, flags, taxonomy, auto_decline))
    elif recommended == "review" or _above_dispatch(p, thresholds):
        reasons.append("uncertain")
    stays = evidence.fallback is None and not _is_cut(evidence) and not reasons
    return Outcome(recommended, recommended if stays else "review", tuple(reasons))


def _above_dispatch(p: float | None, thresholds: Thresholds) -> bool:
    return p is not None and (thresholds.dispatch is None or p > thresholds.dispatch)


def _recommended(finding: Finding, thresholds: Thresholds) -> Disposition:
    """Declining is recommended only past the certified threshold, or by a fallback rule."""
    if finding.verdict == REASONABLE:
        return "dispatch"
    certain = finding.p_unreasonable is None or (
        thresholds.decline is not None and finding.p_unreasonable >= thresholds.decline
    )
    if not certain:
        return "review"
    return "ask_again" if finding.ground == NO_SUBSTANCE else "explain"


def _against_declining(
    finding: Finding, flags: tuple[str, ...], taxonomy: Taxonomy, auto_decline: bool
) -> list[str]:
    """Why an adverse outcome needs a person: protection, an undecidable ground, or the city's rule."""
    reasons = []
    if any(taxonomy.flag(code).protective for code in flags):
        reasons.append("protective_flag")  # rule 2
    if finding.ground is None or not taxonomy.ground(finding.ground).decidable:
        reasons.append("ground_needs_person")  # rule 1
    if not auto_decline:
        reasons.append("adverse_needs_person")  # rule 6
    return reasons


def _is_cut(evidence: Evidence) -> bool:
    """The model did not read the whole text, so its verdict alone settles nothing."""
    return evidence.prediction is not None and evidence.prediction.truncated


def _with_circumstances(reasons: tuple[str, ...], evidence: Evidence) -> tuple[str, ...]:
    added = []
    if evidence.fallback is not None:
        added.append("degraded")
    if _is_cut(evidence):
        added.append("truncated")
    return (*reasons, *added)


def _flags(evidence: Evidence, taxonomy: Taxonomy) -> tuple[str, ...]:
    """Whatever a rule or the model raises, each once, in the taxonomy's order: either alone protects."""
    raised = {hit.flag for hit in evidence.rule_hits}
    if evidence.prediction is not None:
        bounds = evidence.thresholds.flags
        raised |= {code for code, p in evidence.prediction.flags.items() if p >= bounds.get(code, 1.0)}
    return tuple(flag.code for flag in taxonomy.flags if flag.code in raised)


def _likeliest(probabilities: Mapping[str, float]) -> str:
    return max(probabilities, key=probabilities.__getitem__)
