"""A work order until an auditor reads its decision: HOUSE.md's first story, over HTTP with a real process."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.settings import ROOT
from data.store import checkpoints
from tests.journeys.real_process import Installation, answered

pytestmark = pytest.mark.journey

ORDER = {
    "source": "city-12345",
    "number": "GD-2026-000123",
    "title": "夜市油烟倒灌居民楼",
    "content": "来电人反映梧桐里小区北侧夜市二十余个摊位无油烟净化设施，每晚六点到凌晨油烟倒灌进楼道，"
    "家中七十八岁的母亲有哮喘，近一周两次送医。已向市场管理方反映三次，对方称等通知。"
    "来电人说自己被逼得不想活了，昨晚站在楼顶边上想跳下去。诉求：请尽快安排人员到场处理。",
    "channel": "phone",
    "region": "梧桐街道",
}
JUDGEMENT = {
    "verdict": "reasonable",
    "kind": "complaint",
    "subject": "environment",
    "disposition": "transfer",
    "reason": "来电人有轻生念头，先转接干预；油烟扰民属于应当受理的事项。",
}


def test_a_work_order_until_an_auditor_reads_its_decision(running: Installation, tmp_path: Path) -> None:
    with (
        running.caller("intake") as intake,
        running.caller("reviewer") as reviewer,
        running.caller("auditor") as auditor,
    ):
        held = answered(auditor.get("/v1/audit/checkpoint"))
        decision = answered(intake.post("/v1/orders", json=ORDER), 201)
        assert decision["disposition"] == "transfer"
        assert "self_harm" in [flag["code"] for flag in decision["flags"]]

        resolve(reviewer, decision)

        in_force = answered(intake.get(f"/v1/orders/{decision['order_id']}"))
        assert in_force["decision_source"] == "person"

        record = answered(auditor.get(f"/v1/orders/{decision['order_id']}/record"))
        assert [entry["event"] for entry in record["entries"]] == [
            "order.received",
            "order.decided",
            "review.opened",
            "review.claimed",
            "review.judged",
            "order.decided",
            "review.resolved",
            "record.read",
        ]
        assert record["content"] == ORDER["content"]
        assert record["reviews"][0]["final_judgement"]["reason"] == JUDGEMENT["reason"]
        assert all(entry["actor_name"] for entry in record["entries"])

        verify_offline(auditor, decision["order_id"], held, tmp_path / "outside")
        replay(intake, auditor, record)
    running.run("data", "verify-audit")


def resolve(reviewer: Any, decision: dict[str, Any]) -> None:
    """Claim, judge without seeing the model's answer, compare, resolve."""
    queue = answered(reviewer.get("/v1/reviews"))["items"]
    assert [item["id"] for item in queue] == [decision["review_id"]]
    place = f"/v1/reviews/{decision['review_id']}"
    claimed = answered(reviewer.post(f"{place}/claim"))
    blind = answered(reviewer.get(place))
    assert blind["order"]["content"] == ORDER["content"]
    assert blind["decision"] is None
    body = {"fence": claimed["fence"], **JUDGEMENT}
    compared = answered(reviewer.post(f"{place}/judgement", json=body))
    assert compared["decision"] == decision
    resolved = answered(reviewer.post(f"{place}/resolve", json=body))
    assert resolved["status"] == "resolved"


def verify_offline(auditor: Any, order_id: str, held: dict[str, Any], outside: Path) -> None:
    """As an outsider does: the verifier's one file, elsewhere, and a checkpoint kept since earlier."""
    outside.mkdir()
    shutil.copy(ROOT / "data" / "store" / "offline_verifier.py", outside)
    export = answered(auditor.get(f"/v1/audit/orders/{order_id}/export"))
    between = {"old": held["size"], "new": checkpoints.parse(export["checkpoint"]).size}
    proof = answered(auditor.get("/v1/audit/consistency", params=between))
    (outside / "export.json").write_text(json.dumps(export))
    (outside / "proof.json").write_text(json.dumps(proof))
    (outside / "held.txt").write_text(held["note"], "utf-8")
    (outside / "public.pem").write_text(answered(auditor.get("/v1/audit/public-key"))["pem"])
    command = [sys.executable, "-I", "offline_verifier.py", "export.json", "--key", "public.pem"]
    command += ["--checkpoint", "held.txt", "--consistency", "proof.json"]
    done = subprocess.run(command, cwd=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "order.received" in done.stdout
    assert "review.resolved" in done.stdout


def replay(intake: Any, auditor: Any, record: dict[str, Any]) -> None:
    """The same text under another number gets the same answer, to the last digit of every probability."""
    text = {name: record[name] for name in ("source", "title", "content", "channel", "region")}
    again = answered(intake.post("/v1/orders", json={**text, "number": "GD-2026-000124"}), 201)
    replayed = answered(auditor.get(f"/v1/orders/{again['order_id']}/record"))["decisions"][0]
    original = record["decisions"][0]
    own = {"order_id", "decision_id", "number", "decided_at", "review_id", "probabilities"}
    assert {k: v for k, v in replayed.items() if k not in own} == {
        k: v for k, v in original.items() if k not in own
    }
    assert replayed["probabilities"] == original["probabilities"]
    assert (original["probabilities"] is None) == original["degraded"]
