from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records import Decision, Prediction, RuleHit, Span, Thresholds, Versions
from data.taxonomy import Taxonomy, load_taxonomy
from models.policy import Evidence, decide

NOW = datetime(2026, 5, 1, tzinfo=UTC)
VERSIONS = Versions("b", "r", "t", "c", "m", "k")
CERTIFIED = Thresholds(decline=0.9, dispatch=0.2)
TAXONOMY = load_taxonomy()
GROUNDS = TAXONOMY.verdicts[1:]
DECIDABLE = next(ground.code for ground in TAXONOMY.grounds if ground.decidable)


def prediction(
    p: float, ground: str = "public_morals", *, truncated: bool = False, flags: dict[str, float] | None = None
) -> Prediction:
    rest = p * 0.01 / 14
    verdict = dict.fromkeys(TAXONOMY.verdicts, rest)
    verdict[ground] = p * 0.99
    verdict["reasonable"] = 1.0 - p
    kind = dict.fromkeys(TAXONOMY.groups["kind"], 0.1) | {"help": 0.5}
    subject = dict.fromkeys(TAXONOMY.groups["subject"], 0.05) | {"land": 0.25}
    return Prediction(verdict, kind, subject, {}, truncated, flags or {})


def hit(*, flag: str | None = None, ground: str | None = None) -> RuleHit:
    effect = "protect" if flag else "suggest"
    return RuleHit("r", effect, Span("content", 0, 1), "说明", ground=ground, flag=flag)


def decided(
    p: float | None,
    *hits: RuleHit,
    ground: str = "public_morals",
    thresholds: Thresholds = CERTIFIED,
    auto_decline: bool = False,
    truncated: bool = False,
    flags: dict[str, float] | None = None,
) -> Decision:
    said = None if p is None else prediction(p, ground, truncated=truncated, flags=flags)
    evidence = Evidence(said, hits, False, "model_missing" if p is None else None, thresholds, VERSIONS)
    return decide(evidence, TAXONOMY, auto_decline=auto_decline, decided_at=NOW)


def test_surely_reasonable_is_dispatched_without_a_person() -> None:
    decision = decided(0.1)
    assert (decision.verdict, decision.ground, decision.disposition) == ("reasonable", None, "dispatch")
    assert decision.review_reasons == ()
    assert decision.confidence == pytest.approx(0.9)
    assert (decision.kind, decision.subject) == ("help", "land")
    assert decision.notice is None


def test_the_model_raises_a_flag_from_its_threshold_on() -> None:
    bounds = Thresholds(decline=0.9, dispatch=0.2, flags={"emergency": 0.4, "vulnerable": 0.7})
    calm = decided(0.99, thresholds=bounds, flags={"emergency": 0.39, "vulnerable": 0.69})
    assert calm.flags == ()
    urgent = decided(0.99, thresholds=bounds, flags={"emergency": 0.4, "vulnerable": 0.9})
    assert set(urgent.flags) == {"emergency", "vulnerable"}
    assert (urgent.recommended, urgent.disposition) == ("transfer", "review")  # a person looks first
    assert urgent.review_reasons[0] == "urgent"
    by_rule = decided(0.99, hit(flag="emergency"), thresholds=bounds, flags={"emergency": 0.9})
    assert by_rule.disposition == "transfer"
    without = decided(0.99, flags={"emergency": 0.999})
    assert without.flags == ()  # a bundle that states no threshold raises nothing


def test_a_rule_and_the_model_protect_each_alone() -> None:
    bounds = Thresholds(decline=0.9, dispatch=0.2, flags={"vulnerable": 0.7})
    by_rule = decided(0.99, hit(flag="vulnerable"), thresholds=bounds, auto_decline=True, ground=DECIDABLE)
    by_model = decided(
        0.99, thresholds=bounds, auto_decline=True, ground=DECIDABLE, flags={"vulnerable": 0.8}
    )
    assert by_rule.review_reasons == by_model.review_reasons == ("protective_flag",)
    assert by_rule.disposition == by_model.disposition == "review"


def test_between_the_thresholds_a_person_decides() -> None:
    for p in (0.21, 0.5, 0.89):
        decision = decided(p)
        assert decision.disposition == "review"
        assert decision.review_reasons == ("uncertain",)


def test_surely_unreasonable_is_recommended_and_confirmed_by_a_person() -> None:
    decision = decided(0.95, ground=DECIDABLE)
    assert (decision.verdict, decision.ground) == ("unreasonable", DECIDABLE)
    assert (decision.recommended, decision.disposition) == ("explain", "review")
    assert decision.review_reasons == ("adverse_needs_person",)
    assert decision.notice is not None


def test_a_city_may_automate_a_decidable_ground_under_a_certificate() -> None:
    decision = decided(0.95, ground=DECIDABLE, auto_decline=True)
    assert decision.disposition == "explain"
    assert decision.review_reasons == ()


@pytest.mark.parametrize("ground", [ground.code for ground in TAXONOMY.grounds if not ground.decidable])
def test_no_city_may_automate_an_undecidable_ground(ground: str) -> None:
    decision = decided(0.99, ground=ground, auto_decline=True)
    assert decision.disposition == "review"
    assert "ground_needs_person" in decision.review_reasons


def test_an_empty_order_is_asked_again() -> None:
    assert decided(0.99, ground="no_substance").recommended == "ask_again"


@pytest.mark.parametrize("flag", [flag.code for flag in TAXONOMY.flags if flag.protective])
def test_a_protected_order_is_never_declined_without_a_person(flag: str) -> None:
    decision = decided(0.999, hit(flag=flag), ground=DECIDABLE, auto_decline=True)
    assert decision.flags == (flag,)
    assert decision.disposition in ("review", "transfer")
    assert decision.review_reasons


def test_rude_language_alone_protects_and_condemns_nothing() -> None:
    assert decided(0.1, hit(flag="abusive_language")).disposition == "dispatch"
    assert (
        decided(0.95, hit(flag="abusive_language"), ground=DECIDABLE, auto_decline=True).disposition
        == "explain"
    )


@pytest.mark.parametrize("flag", ["emergency", "self_harm"])
@pytest.mark.parametrize("p", [None, 0.0, 0.5, 0.999])
def test_a_life_in_danger_is_sent_on_and_seen_by_a_person(flag: str, p: float | None) -> None:
    decision = decided(p, hit(flag=flag), thresholds=Thresholds(None, None))
    assert decision.disposition == decision.recommended == "transfer"
    assert "urgent" in decision.review_reasons


def test_without_a_certificate_everything_goes_to_a_person() -> None:
    for p in (0.0, 0.3, 0.6, 1.0):
        decision = decided(p, thresholds=Thresholds(None, None), auto_decline=True)
        assert decision.disposition == "review"
        assert decision.review_reasons == ("no_certificate",)


def test_a_missing_bound_leaves_the_other_in_force() -> None:
    assert decided(0.1, thresholds=Thresholds(None, 0.2)).disposition == "dispatch"
    assert decided(0.99, thresholds=Thresholds(None, 0.2)).review_reasons == ("uncertain",)
    assert decided(0.1, thresholds=Thresholds(0.9, None)).review_reasons == ("uncertain",)


def test_rules_answer_when_the_model_cannot() -> None:
    plain = decided(None, thresholds=Thresholds(None, None))
    assert (plain.source, plain.fallback, plain.degraded) == ("rules", "model_missing", True)
    assert (plain.verdict, plain.disposition) == ("reasonable", "review")
    assert plain.review_reasons == ("degraded",)
    assert plain.p_unreasonable is plain.confidence is None
    suggested = decided(None, hit(ground="legal_route"), thresholds=Thresholds(None, None))
    assert (suggested.verdict, suggested.ground) == ("unreasonable", "legal_route")
    assert (suggested.recommended, suggested.disposition) == ("explain", "review")
    assert "degraded" in suggested.review_reasons


def test_a_rule_s_ground_never_touches_the_model_s_answer() -> None:
    assert decided(0.1, hit(ground="legal_route")).verdict == "reasonable"


def test_a_cut_text_settles_nothing() -> None:
    decision = decided(0.01, truncated=True)
    assert (decision.disposition, decision.review_reasons) == ("review", ("truncated",))
    assert decision.truncated


flags = st.sampled_from([flag.code for flag in TAXONOMY.flags])
bounds = st.none() | st.floats(0, 1)


@given(
    p=st.none() | st.floats(0, 1),
    ground=st.sampled_from(GROUNDS),
    raised=st.lists(flags, max_size=3),
    decline=bounds,
    dispatch=bounds,
    auto_decline=st.booleans(),
    truncated=st.booleans(),
)
def test_the_house_s_hard_rules_hold_for_every_input(
    p: float | None,
    ground: str,
    raised: list[str],
    decline: float | None,
    dispatch: float | None,
    auto_decline: bool,
    truncated: bool,
) -> None:
    decision = decided(
        p,
        *(hit(flag=flag) for flag in raised),
        ground=ground,
        thresholds=Thresholds(decline, dispatch),
        auto_decline=auto_decline,
        truncated=truncated,
    )
    taxonomy: Taxonomy = TAXONOMY
    reviewed = bool(decision.review_reasons)
    assert (decision.disposition == "review") <= reviewed
    if decision.disposition in ("explain", "ask_again"):
        assert auto_decline
        assert decline is not None
        assert decision.p_unreasonable is not None
        assert decision.p_unreasonable >= decline
        assert decision.ground is not None
        assert taxonomy.ground(decision.ground).decidable
        assert not any(taxonomy.flag(flag).protective for flag in raised)
        assert not reviewed
    if decision.disposition == "dispatch":
        assert decision.p_unreasonable is not None
        assert dispatch is not None
        assert decision.p_unreasonable <= dispatch
    if {"emergency", "self_harm"} & set(raised):
        assert decision.disposition == "transfer"
        assert reviewed
    assert (decision.verdict == "unreasonable") == (decision.ground is not None)
