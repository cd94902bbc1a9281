from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from data.store.database import Database
from models.triage import Triage
from tests.data.store.stories import at_once
from tests.serving.conftest import Opened
from tests.serving.staffed import (
    URGENT,
    Service,
    a_judgement,
    adverse,
    an_order,
    assert_problem,
    claimed,
    everything,
    judged,
    post_urgent,
)


def test_the_queue_puts_harm_first_and_is_read_by_pages(service: Service) -> None:
    intake, reviewer = service.caller("intake"), service.caller("reviewer")
    urgent = [post_urgent(service)["review_id"] for _ in range(5)]
    others = [intake.post("/v1/orders", json=an_order()).json()["review_id"] for _ in range(3)]
    expected = urgent + [review for review in others if review]
    whole = reviewer.get("/v1/reviews").json()
    assert [item["id"] for item in whole["items"]] == expected
    assert whole["next"] is None
    seen: list[str] = []
    after: dict[str, str] = {}
    while True:
        page = reviewer.get("/v1/reviews", params={"limit": "2", **after}).json()
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        after = {"after": page["next"]}
    assert seen == expected
    first = whole["items"][0]
    assert first["urgency"] == "urgent"
    assert "self_harm" in {flag["code"] for flag in first["flags"]}  # the model may raise others


def test_the_queue_by_status(service: Service) -> None:
    reviewer = service.caller("reviewer")
    open_, taken, given = (post_urgent(service)["review_id"] for _ in range(3))
    claimed(service, taken)
    judged(service, given)
    for status, expected in (("open", open_), ("claimed", taken), ("judged", given)):
        page = reviewer.get("/v1/reviews", params={"status": status}).json()
        assert [item["id"] for item in page["items"]] == [expected]
    assert reviewer.get("/v1/reviews", params={"status": "resolved"}).json()["items"] == []
    assert_problem(reviewer.get("/v1/reviews", params={"status": "x"}), 422, "request_invalid")
    unknown = {"after": "0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"}
    assert_problem(reviewer.get("/v1/reviews", params=unknown), 422, "cursor_unknown")


def words_of_the_model(decision: dict[str, Any]) -> list[str]:
    """What would tell a reviewer what the model concluded."""
    ground = decision["ground"]
    return [
        f'"verdict": "{decision["verdict"]}"',
        ground["code"],
        ground["name"],
        ground["meaning"],
        f": {decision['p_unreasonable']}",
        decision["notice"] or "建议不予受理，说明理由",
        '"recommended"',
        '"explain"',
        "adverse_needs_person",
        "ground_needs_person",
        "uncertain",
    ]


def test_nothing_shows_the_model_s_answer_before_the_first_judgement(
    opened: Opened, database: Database, tiny_triage: Triage
) -> None:
    service = opened(database, tiny_triage)
    intake, reviewer = service.caller("intake"), service.caller("reviewer")
    decision = intake.post("/v1/orders", json=an_order(title="裁", content="裁裁裁裁")).json()
    assert decision["ground"]
    place = f"/v1/reviews/{decision['review_id']}"
    blind = [
        reviewer.get("/v1/reviews"),
        reviewer.get(place),
        reviewer.post(f"{place}/claim"),
        reviewer.post(f"{place}/claim", headers={"Idempotency-Key": "k-1"}),
        reviewer.post(f"{place}/claim", headers={"Idempotency-Key": "k-1"}),
        reviewer.get(place),
        reviewer.get("/v1/reviews", params={"status": "claimed"}),
        reviewer.get(f"/v1/orders/{decision['order_id']}"),
        reviewer.get(f"/v1/orders/{decision['order_id']}/record"),
        reviewer.get(f"/v1/audit/orders/{decision['order_id']}"),
        reviewer.get(f"/v1/audit/orders/{decision['order_id']}/export"),
        reviewer.post(f"{place}/resolve", json=a_judgement(3)),
        service.another("reviewer").post(f"{place}/claim"),
        service.another("reviewer").get(place),
        service.caller("adjudicator").get(place),
    ]
    for answer in blind:
        text = everything(answer.json())
        for word in words_of_the_model(decision):
            assert word not in text, (answer.request.url.path, word)
    assert blind[1].json()["decision"] is None
    assert blind[1].json()["order"] is None
    assert blind[5].json()["order"]["content"] == "裁裁裁裁"
    # The judge sees it; nobody else does.
    fence = blind[4].json()["fence"]
    shown = reviewer.post(f"{place}/judgement", json=a_judgement(fence)).json()
    assert shown["decision"] == decision
    assert {reason["code"] for reason in shown["reasons"]} == {
        reason["code"] for reason in decision["review_reasons"]
    }
    for other in (service.another("reviewer"), service.caller("adjudicator")):
        text = everything([other.get(place).json(), other.get("/v1/reviews").json()])
        for word in words_of_the_model(decision):
            assert word not in text, word
        assert "first_judgement" in text
        assert other.get(place).json()["first_judgement"] is None


def test_two_orders_that_the_model_answers_differently_look_alike_in_the_queue(
    opened: Opened, database: Database, tiny_triage: Triage
) -> None:
    service = opened(database, tiny_triage)
    intake = service.caller("intake")
    certain = intake.post("/v1/orders", json=an_order(title="裁", content="裁裁裁裁")).json()
    doubtful = intake.post("/v1/orders", json=an_order(title="灯", content="灯灯灯灯")).json()
    assert certain["recommended"] != doubtful["recommended"]
    items = {item["id"]: item for item in service.caller("reviewer").get("/v1/reviews").json()["items"]}
    one, other = (items[decision["review_id"]] for decision in (certain, doubtful))
    own = ("id", "order_id", "number", "opened_at")
    assert {k: v for k, v in one.items() if k not in own} == {k: v for k, v in other.items() if k not in own}


def test_a_claim_is_exclusive_and_a_lease(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    mine, other = service.caller("reviewer"), service.another("reviewer")
    fence = claimed(service, review, mine)
    assert_problem(other.post(f"/v1/reviews/{review}/claim"), 409, "already_claimed")
    renewed = claimed(service, review, mine)
    assert renewed > fence
    stale = mine.post(f"/v1/reviews/{review}/judgement", json=a_judgement(fence))
    assert_problem(stale, 409, "lease_lost")
    stolen = other.post(f"/v1/reviews/{review}/judgement", json=a_judgement(renewed))
    assert_problem(stolen, 409, "lease_lost")
    service.clock.ahead += timedelta(seconds=service.settings.lease_seconds + 1)
    assert mine.get(f"/v1/reviews/{review}").json()["status"] == "open"
    late = mine.post(f"/v1/reviews/{review}/judgement", json=a_judgement(renewed))
    assert_problem(late, 409, "lease_lost")
    assert claimed(service, review, other) > renewed


def test_claimants_at_once(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    clients = [service.another("reviewer") for _ in range(6)]
    answers: list[Any] = at_once(6, lambda number: clients[number].post(f"/v1/reviews/{review}/claim"))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409, 409]


def test_only_the_holder_reads_the_text(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    mine, other = service.caller("reviewer"), service.another("reviewer")
    fence = claimed(service, review, mine)
    held = mine.get(f"/v1/reviews/{review}").json()
    assert held["order"]["content"] == URGENT
    assert held["fence"] == fence
    seen = other.get(f"/v1/reviews/{review}").json()
    assert (seen["order"], seen["fence"]) == (None, None)
    service.clock.ahead += timedelta(seconds=service.settings.lease_seconds + 1)
    assert mine.get(f"/v1/reviews/{review}").json()["order"] is None


def test_answers_to_posts_hold_no_words(service: Service) -> None:
    """They are kept for replay, outside the vault."""
    review = post_urgent(service)["review_id"]
    reviewer = service.caller("reviewer")
    place = f"/v1/reviews/{review}"
    taken = reviewer.post(f"{place}/claim")
    fence = taken.json()["fence"]
    first = reviewer.post(f"{place}/judgement", json=a_judgement(fence, reason="密语其一"))
    resolved = reviewer.post(
        f"{place}/resolve", json=adverse(fence, reason="密语其二", change_reason="密语其三")
    )
    assert resolved.status_code == 200
    for answer in (taken, first, resolved):
        assert "密语" not in answer.text
        assert URGENT not in answer.text
    read = reviewer.get(place).json()
    assert read["first_judgement"]["reason"] == "密语其一"
    assert read["final_judgement"]["reason"] == "密语其二"
    assert read["change_reason"] == "密语其三"


def test_a_released_review_is_anyone_s(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    mine = service.caller("reviewer")
    fence = claimed(service, review, mine)
    assert_problem(mine.post(f"/v1/reviews/{review}/release", json={"fence": fence + 1}), 409, "lease_lost")
    answer = mine.post(f"/v1/reviews/{review}/release", json={"fence": fence})
    assert (answer.status_code, answer.json()["status"]) == (200, "open")
    claimed(service, review, service.another("reviewer"))


def test_an_etag_guards_against_what_was_not_seen(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    reviewer = service.caller("reviewer")
    place = f"/v1/reviews/{review}"
    seen = reviewer.get(place)
    assert seen.headers["etag"] == f'"{seen.json()["version"]}"'
    taken = reviewer.post(f"{place}/claim", headers={"If-Match": seen.headers["etag"]})
    assert taken.status_code == 200
    assert taken.headers["etag"] != seen.headers["etag"]
    fence = taken.json()["fence"]
    stale = {"If-Match": seen.headers["etag"]}
    for path, body in (
        ("claim", None),
        ("release", {"fence": fence}),
        ("judgement", a_judgement(fence)),
        ("resolve", a_judgement(fence)),
    ):
        assert_problem(reviewer.post(f"{place}/{path}", json=body, headers=stale), 412, "version_stale")
    fresh = {"If-Match": taken.headers["etag"]}
    assert reviewer.post(f"{place}/judgement", json=a_judgement(fence), headers=fresh).status_code == 200
    anything = {"If-Match": "*"}
    assert reviewer.post(f"{place}/resolve", json=a_judgement(fence), headers=anything).status_code == 200


@pytest.mark.parametrize("tag", ["1", 'W/"1"', '"x"', '"1", "2"', '""', '"' + "9" * 40 + '"'])
def test_an_etag_of_another_form_is_refused(light: Service, tag: str) -> None:
    review = post_urgent(light)["review_id"]
    answer = light.caller("reviewer").post(f"/v1/reviews/{review}/claim", headers={"If-Match": tag})
    assert_problem(answer, 422, "if_match_form")


def test_the_first_judgement_comes_first_and_once(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    reviewer = service.caller("reviewer")
    place = f"/v1/reviews/{review}"
    unclaimed = reviewer.post(f"{place}/judgement", json=a_judgement(0))
    assert_problem(unclaimed, 409, "lease_lost")
    fence = claimed(service, review, reviewer)
    early = reviewer.post(f"{place}/resolve", json=a_judgement(fence))
    assert_problem(early, 409, "judge_first")
    assert reviewer.post(f"{place}/judgement", json=a_judgement(fence)).status_code == 200
    twice = reviewer.post(f"{place}/judgement", json=adverse(fence))
    assert_problem(twice, 409, "already_judged")


def test_another_s_judgement_does_not_count_for_mine(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    mine, other = service.caller("reviewer"), service.another("reviewer")
    fence = judged(service, review, mine)
    mine.post(f"/v1/reviews/{review}/release", json={"fence": fence})
    theirs = claimed(service, review, other)
    refused = other.post(f"/v1/reviews/{review}/resolve", json=a_judgement(theirs))
    assert_problem(refused, 409, "judge_first")
    assert other.get(f"/v1/reviews/{review}").json()["decision"] is None


def test_after_judging_both_answers_stand_side_by_side(service: Service) -> None:
    decision = post_urgent(service)
    reviewer = service.caller("reviewer")
    fence = claimed(service, decision["review_id"], reviewer)
    place = f"/v1/reviews/{decision['review_id']}"
    answer = reviewer.post(f"{place}/judgement", json=adverse(fence))
    shown = answer.json()
    assert shown["status"] == "judged"
    assert shown["decision"] == decision
    assert shown["first_judgement"]["ground"] == {"code": "civil_or_market", "name": "民事纠纷与市场行为"}
    assert reviewer.get(place).json()["decision"] == decision


def test_what_carries_the_verdict_is_shown_after_judging_only(
    database: Database, tiny_triage: Triage, opened: Opened
) -> None:
    service = opened(database, tiny_triage)
    content = "路灯坏了，法院裁定不算数，请派人来修。"
    decision = service.caller("intake").post("/v1/orders", json=an_order(title="", content=content)).json()
    place = f"/v1/reviews/{decision['review_id']}"
    reviewer = service.caller("reviewer")
    fence = claimed(service, decision["review_id"], reviewer)
    assert reviewer.get(place).json()["carrying"] == []
    reviewer.post(f"{place}/judgement", json=adverse(fence))
    (clause,) = reviewer.get(place).json()["carrying"]
    assert clause["field"] == "content"
    assert content[clause["start"] : clause["end"]] == "法院裁定不算数，"


def test_precedents_of_both_sides_are_shown_after_judging_only(
    database: Database, tiny_triage: Triage, opened: Opened
) -> None:
    service = opened(database, tiny_triage)
    order = an_order(title="", content="法院裁定不算数，请派人来修。")
    decision = service.caller("intake").post("/v1/orders", json=order).json()
    place = f"/v1/reviews/{decision['review_id']}"
    reviewer = service.caller("reviewer")
    fence = claimed(service, decision["review_id"], reviewer)
    assert reviewer.get(place).json()["precedents"] == {"reasonable": [], "unreasonable": []}
    reviewer.post(f"{place}/judgement", json=adverse(fence))
    shown = reviewer.get(place).json()["precedents"]
    (fair,), (unfair,) = shown["reasonable"], shown["unreasonable"]
    assert (fair["id"], fair["ground"]) == ("t1", None)
    assert unfair["ground"] == {"code": "legal_route", "name": "须经法定途径"}
    assert unfair["why"] == "要求改变生效裁定"
    assert unfair["similarity"] > fair["similarity"]


def test_a_change_of_mind_needs_its_reason(service: Service) -> None:
    decision = post_urgent(service)
    reviewer = service.caller("reviewer")
    place = f"/v1/reviews/{decision['review_id']}/resolve"
    fence = judged(service, decision["review_id"], reviewer)
    for changed in (adverse(fence), a_judgement(fence, disposition="transfer")):
        assert_problem(reviewer.post(place, json=changed), 422, "change_reason_missing")
    for blank in ("", "   "):
        answer = reviewer.post(place, json=adverse(fence, change_reason=blank))
        assert_problem(answer, 422, "request_invalid")
    answer = reviewer.post(place, json=adverse(fence, change_reason="看到合同后改判。"))
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "resolved"


def test_a_resolution_is_final(service: Service) -> None:
    decision = post_urgent(service)
    reviewer = service.caller("reviewer")
    place = f"/v1/reviews/{decision['review_id']}"
    fence = judged(service, decision["review_id"], reviewer)
    resolved = reviewer.post(f"{place}/resolve", json=a_judgement(fence)).json()
    assert resolved["final_judgement"]["verdict"] == "reasonable"
    assert resolved["resolved_at"]
    for path, body in (
        ("claim", None),
        ("release", {"fence": fence}),
        ("judgement", a_judgement(fence)),
        ("resolve", a_judgement(fence)),
    ):
        assert_problem(reviewer.post(f"{place}/{path}", json=body), 409, "already_resolved")
    assert reviewer.get("/v1/reviews").json()["items"] == []
    finished = reviewer.get("/v1/reviews", params={"status": "resolved"}).json()["items"]
    assert [item["id"] for item in finished] == [decision["review_id"]]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"verdict": "unreasonable"}, "ground_mismatch"),
        ({"ground": "civil_or_market"}, "ground_mismatch"),
        ({"kind": "nonsense"}, "code_unknown"),
        ({"subject": "nonsense"}, "code_unknown"),
        ({"verdict": "unreasonable", "ground": "nonsense"}, "code_unknown"),
        ({"verdict": "unreasonable", "ground": "reasonable"}, "code_unknown"),
        ({"kind": "No Code"}, "request_invalid"),
        ({"disposition": "review"}, "request_invalid"),
        ({"verdict": "maybe"}, "request_invalid"),
        ({"reason": ""}, "request_invalid"),
        ({"reason": "x" * 2001}, "request_invalid"),
        ({"fence": -1}, "request_invalid"),
        ({"fence": "1"}, "request_invalid"),
    ],
)
def test_a_judgement_is_checked(light: Service, changes: dict[str, object], code: str) -> None:
    review = post_urgent(light)["review_id"]
    fence = claimed(light, review)
    body = a_judgement(fence) | changes
    answer = light.caller("reviewer").post(f"/v1/reviews/{review}/judgement", json=body)
    assert_problem(answer, 422, code)
    assert light.caller("reviewer").get(f"/v1/reviews/{review}").json()["status"] == "claimed"


def test_posts_are_repeated_safely(service: Service) -> None:
    review = post_urgent(service)["review_id"]
    reviewer = service.caller("reviewer")
    place = f"/v1/reviews/{review}"

    def twice(path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        headers = {"Idempotency-Key": f"k-{path}"}
        first = reviewer.post(f"{place}/{path}", json=body, headers=headers)
        again = reviewer.post(f"{place}/{path}", json=body, headers=headers)
        assert first.status_code == 200, first.text
        assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
        assert again.headers["idempotent-replayed"] == "true"
        answer: dict[str, Any] = first.json()
        return answer

    fence = twice("claim", None)["fence"]
    twice("judgement", a_judgement(fence))
    twice("resolve", a_judgement(fence))


def test_an_unknown_review(light: Service) -> None:
    unknown = "/v1/reviews/0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"
    reviewer = light.caller("reviewer")
    assert_problem(reviewer.get(unknown), 404, "review_not_found")
    assert_problem(reviewer.post(f"{unknown}/claim"), 404, "review_not_found")
    assert_problem(reviewer.post(f"{unknown}/judgement", json=a_judgement(1)), 404, "review_not_found")
