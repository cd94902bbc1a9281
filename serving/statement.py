"""Writes a stored decision as the statement of reasons that callers get; routes and pages both read it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from data.records import Decision, OrderHeader, Review, RuleHit, WorkOrder
from data.taxonomy import Taxonomy
from serving import wording
from serving.desk import BEIJING
from serving.messages import (
    Basis,
    Coded,
    DecisionMessage,
    Evidence,
    FlagMessage,
    GroundMessage,
    ThresholdsMessage,
    VersionsMessage,
)


def decision_message(
    order: OrderHeader | WorkOrder,
    decision_id: str,
    decision: Decision,
    review_id: str | None,
    taxonomy: Taxonomy,
) -> DecisionMessage:
    """The statement of reasons of one decision.

    A code that the taxonomy has lost since is shown as itself: the decision stands as it was made.
    """
    return DecisionMessage(
        order_id=order.id,
        decision_id=decision_id,
        source=order.source,
        number=order.number,
        revision=order.revision,
        decided_at=rfc3339(decision.decided_at),
        decision_source=decision.source,
        verdict=decision.verdict,
        verdict_name=wording.VERDICTS[decision.verdict],
        ground=None if decision.ground is None else ground_message(decision.ground, taxonomy),
        kind=coded(decision.kind, taxonomy),
        subject=coded(decision.subject, taxonomy),
        p_unreasonable=decision.p_unreasonable,
        confidence=decision.confidence,
        flags=flag_messages(decision.flags, taxonomy),
        recommended=decision.recommended,
        disposition=decision.disposition,
        disposition_name=wording.DISPOSITIONS[decision.disposition],
        review_reasons=named(decision.review_reasons, wording.REASONS),
        review_id=review_id,
        degraded=decision.degraded,
        fallback=decision.fallback,
        truncated=decision.truncated,
        traditional=decision.traditional,
        evidence=[_evidence(hit, taxonomy) for hit in decision.rule_hits],
        thresholds=ThresholdsMessage(
            decline=decision.thresholds.decline,
            dispatch=decision.thresholds.dispatch,
            base_rate=decision.thresholds.base_rate,
        ),
        notice=decision.notice,
        versions=VersionsMessage(
            bundle=decision.versions.bundle,
            rules=decision.versions.rules,
            taxonomy=decision.versions.taxonomy,
            canonical=decision.versions.canonical,
            masking=decision.versions.masking,
            certificate=decision.versions.certificate,
        ),
    )


def ground_message(code: str, taxonomy: Taxonomy) -> GroundMessage:
    try:
        ground = taxonomy.ground(code)
    except KeyError:
        return GroundMessage(code=code, name=code, form="", meaning="", basis=[])
    return GroundMessage(
        code=code,
        name=ground.zh,
        form=ground.form,
        meaning=ground.meaning,
        basis=basis_of(ground.policies, taxonomy),
    )


def basis_of(policies: Iterable[str], taxonomy: Taxonomy) -> list[Basis]:
    known = {policy.id: policy for policy in taxonomy.policies}
    found = [known[policy] for policy in policies if policy in known]
    return [
        Basis(
            policy=policy.id,
            citation=policy.citation,
            in_force=None if policy.in_force is None else policy.in_force.isoformat(),
            verified=policy.verified,
        )
        for policy in found
    ]


def flag_messages(codes: Iterable[str], taxonomy: Taxonomy) -> list[FlagMessage]:
    known = {flag.code: flag for flag in taxonomy.flags}
    return [
        FlagMessage(code=code, name=known[code].zh, protective=known[code].protective)
        if code in known
        else FlagMessage(code=code, name=code, protective=False)
        for code in codes
    ]


def coded(code: str | None, taxonomy: Taxonomy) -> Coded | None:
    if code is None:
        return None
    try:
        return Coded(code=code, name=taxonomy.name(code))
    except KeyError:
        return Coded(code=code, name=code)


def named(codes: Iterable[str], names: Mapping[str, str]) -> list[Coded]:
    return [Coded(code=code, name=names.get(code, code)) for code in codes]


def review_id_of(reviews: Iterable[Review], decision_id: str) -> str | None:
    """The review that a decision opened, if it opened one."""
    return next((review.id for review in reviews if review.decision_id == decision_id), None)


def rfc3339(at: datetime) -> str:
    """In Beijing time with its offset: the same instant, and what the caller's clock shows."""
    return at.astimezone(BEIJING).isoformat(timespec="milliseconds")


def _evidence(hit: RuleHit, taxonomy: Taxonomy) -> Evidence:
    return Evidence(
        rule=hit.rule,
        effect=hit.effect,
        field=hit.span.field,
        start=hit.span.start,
        end=hit.span.end,
        explanation=hit.explanation,
        ground=hit.ground,
        flag=hit.flag,
        route=hit.route,
        basis=basis_of(hit.policies, taxonomy),
    )
