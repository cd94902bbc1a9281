from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.settings import ROOT
from data.store import checkpoints, merkle, orders
from data.store.verification import verify_log
from tests.serving.staffed import (
    URGENT,
    Service,
    a_judgement,
    an_order,
    assert_problem,
    claimed,
    everything,
    post_urgent,
    whole_story,
)

UNKNOWN = "0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f"
VERIFIER = ROOT / "data" / "store" / "offline_verifier.py"


def verified_offline(folder: Path, export: Any, pem: str, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "export.json").write_text(json.dumps(export, ensure_ascii=False), "utf-8")
    (folder / "public.pem").write_text(pem, "utf-8")
    command = [sys.executable, "-I", str(VERIFIER), "export.json", "--key", "public.pem", *options]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_an_order_s_entries_tell_its_story(service: Service) -> None:
    decision = whole_story(service)
    auditor = service.caller("auditor")
    body = auditor.get(f"/v1/audit/orders/{decision['order_id']}").json()
    entries = body["entries"]
    assert [entry["event"] for entry in entries] == [
        "order.received",
        "order.decided",
        "review.opened",
        "review.claimed",
        "review.judged",
        "order.decided",
        "review.resolved",
    ]
    assert [entry["index"] for entry in entries] == sorted({entry["index"] for entry in entries})
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    actors = [entry["actor"] for entry in entries]
    assert actors == [service.ids["intake"]] * 3 + [service.ids["reviewer"]] * 4
    assert entries[3]["actor_name"] == "reviewer of the tests（复核员）"
    assert entries[0]["event_name"] == "收到工单"
    text = everything(body)
    for word in (URGENT, "路灯维护属于市政职责", decision["number"]):
        assert word not in text


def test_no_fact_of_a_leaf_is_free_text_or_a_fraction(service: Service) -> None:
    def atoms(value: Any) -> list[Any]:
        if isinstance(value, dict):
            return [atom for item in value.values() for atom in atoms(item)]
        if isinstance(value, list):
            return [atom for item in value for atom in atoms(item)]
        return [value]

    decision = whole_story(service)
    entries = service.caller("auditor").get(f"/v1/audit/orders/{decision['order_id']}").json()["entries"]
    for atom in (atom for entry in entries for atom in atoms(entry["facts"])):
        assert atom is None or isinstance(atom, int | str)
        assert not isinstance(atom, str) or atom.isascii()


def test_the_checkpoint_is_signed_by_the_published_key(service: Service) -> None:
    whole_story(service)
    auditor = service.caller("auditor")
    origin = service.settings.log_origin
    signed = auditor.get("/v1/audit/checkpoint").json()
    published = auditor.get("/v1/audit/public-key").json()
    checkpoint = checkpoints.verify(signed["note"], service.keyring.audit_public, origin)
    assert (checkpoint.size, checkpoint.root.hex()) == (signed["size"], signed["root"])
    assert published["pem"] == service.keyring.audit_public_pem
    assert published["verifier_key"] == checkpoints.verifier_key(origin, service.keyring.audit_public)
    assert signed["origin"] == published["origin"] == origin
    assert auditor.get("/v1/audit/checkpoint").json() == signed


def test_every_entry_is_included(service: Service) -> None:
    decision = whole_story(service)
    auditor = service.caller("auditor")
    checkpoint = auditor.get("/v1/audit/checkpoint").json()
    root = bytes.fromhex(checkpoint["root"])
    entries = auditor.get(f"/v1/audit/orders/{decision['order_id']}").json()["entries"]
    for entry in entries:
        where = {"index": entry["index"], "size": checkpoint["size"]}
        proof = auditor.get("/v1/audit/inclusion", params=where).json()
        assert proof["leaf_hash"] == entry["leaf_hash"]
        leaf, path = bytes.fromhex(proof["leaf_hash"]), [bytes.fromhex(node) for node in proof["path"]]
        assert merkle.verify_inclusion(leaf, entry["index"], checkpoint["size"], path, root)
        assert not merkle.verify_inclusion(leaf, entry["index"] ^ 1, checkpoint["size"], path, root)
    assert auditor.get("/v1/audit/inclusion", params={"index": 0}).json()["size"] == checkpoint["size"]


def test_the_log_only_grows(service: Service) -> None:
    auditor = service.caller("auditor")
    roots: dict[int, bytes] = {}
    for _ in range(4):
        post_urgent(service)
        checkpoint = auditor.get("/v1/audit/checkpoint").json()
        roots[checkpoint["size"]] = bytes.fromhex(checkpoint["root"])
    assert len(roots) == 4
    for old, old_root in roots.items():
        for new, new_root in roots.items():
            if old > new:
                continue
            proof = auditor.get("/v1/audit/consistency", params={"old": old, "new": new}).json()
            assert (proof["old"], proof["new"]) == (old, new)
            path = [bytes.fromhex(node) for node in proof["path"]]
            assert merkle.verify_consistency(old, new, old_root, new_root, path)
            if old < new:
                assert not merkle.verify_consistency(old, new, new_root, old_root, path)


@pytest.mark.parametrize(
    "query",
    [
        "inclusion?index=999",
        "inclusion?index=0&size=0",
        "inclusion?index=0&size=999",
        "inclusion?index=5&size=5",
        "consistency?old=5&new=4",
        "consistency?old=999",
        "consistency?old=1&new=999",
    ],
)
def test_a_proof_of_what_is_not_there_is_refused(light: Service, query: str) -> None:
    assert_problem(light.caller("auditor").get(f"/v1/audit/{query}"), 422, "audit_range")


def test_the_export_is_accepted_offline_against_a_checkpoint_held_since(
    service: Service, tmp_path: Path
) -> None:
    auditor = service.caller("auditor")
    post_urgent(service)
    held = auditor.get("/v1/audit/checkpoint").json()
    decision = whole_story(service)
    export = auditor.get(f"/v1/audit/orders/{decision['order_id']}/export").json()
    new = checkpoints.parse(export["checkpoint"]).size
    proof = auditor.get("/v1/audit/consistency", params={"old": held["size"], "new": new}).json()
    (tmp_path / "held.txt").write_text(held["note"], "utf-8")
    (tmp_path / "proof.json").write_text(json.dumps(proof))
    options = ("--checkpoint", "held.txt", "--consistency", "proof.json")
    pem = auditor.get("/v1/audit/public-key").json()["pem"]
    checked = verified_offline(tmp_path, export, pem, *options)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("review.") == 4
    leaf = json.loads(export["entries"][1]["leaf"])
    assert leaf["subject"] == decision["order_id"]


def test_a_touched_export_is_refused_offline(service: Service, tmp_path: Path) -> None:
    auditor = service.caller("auditor")
    decision = whole_story(service)
    export = auditor.get(f"/v1/audit/orders/{decision['order_id']}/export").json()
    pem = service.keyring.audit_public_pem
    assert verified_offline(tmp_path, export, pem).returncode == 0
    actor = service.ids["reviewer"]
    swapped = everything(export).replace(actor, service.ids["adjudicator"])
    assert swapped != everything(export)
    assert verified_offline(tmp_path, json.loads(swapped), pem).returncode == 1
    without = {**export, "entries": export["entries"][1:]}
    assert verified_offline(tmp_path, without, pem).returncode == 1


def test_the_export_of_an_erased_order_still_verifies(service: Service, tmp_path: Path) -> None:
    decision = whole_story(service)
    with service.database.transaction() as conn:
        orders.erase(conn, decision["order_id"], "operator", service.clock())
    export = service.caller("auditor").get(f"/v1/audit/orders/{decision['order_id']}/export").json()
    checked = verified_offline(tmp_path, export, service.keyring.audit_public_pem)
    assert checked.returncode == 0, checked.stdout
    assert "order.erased" in checked.stdout


def test_what_the_log_never_heard_of_is_not_found(light: Service) -> None:
    auditor = light.caller("auditor")
    for subject in (UNKNOWN, light.ids["intake"]):
        assert_problem(auditor.get(f"/v1/audit/orders/{subject}"), 404, "order_not_found")
        assert_problem(auditor.get(f"/v1/audit/orders/{subject}/export"), 404, "order_not_found")


def test_refused_requests_leave_no_entry(service: Service) -> None:
    auditor, intake, reviewer = (service.caller(role) for role in ("auditor", "intake", "reviewer"))
    body = an_order(content=URGENT)
    decision = intake.post("/v1/orders", json=body).json()
    claimed(service, decision["review_id"])
    before = auditor.get("/v1/audit/checkpoint").json()
    place = f"/v1/reviews/{decision['review_id']}"
    refused = [
        intake.post("/v1/orders", json={**body, "content": "别的内容"}),
        intake.post("/v1/orders", json=an_order(content="")),
        reviewer.post(f"{place}/resolve", json=a_judgement(1)),
        reviewer.post(f"{place}/judgement", json=a_judgement(7)),
        reviewer.get(f"/v1/orders/{decision['order_id']}/record"),
        service.another("reviewer").post(f"{place}/claim"),
    ]
    assert all(answer.status_code >= 400 for answer in refused)
    after = auditor.get("/v1/audit/checkpoint").json()
    assert after["size"] == before["size"] + 1  # the second reviewer's key


def test_what_the_service_did_verifies_as_a_whole(service: Service) -> None:
    auditor = service.caller("auditor")
    held = []
    for _ in range(2):
        decision = whole_story(service)
        auditor.get(f"/v1/orders/{decision['order_id']}/record")
        held.append(auditor.get("/v1/audit/checkpoint").json()["note"])
    service.caller("intake").post("/v1/orders", json=an_order())
    with service.database.reading() as conn:
        report = verify_log(conn, service.keyring.audit_public, service.settings.log_origin, held)
    assert report.sound, report.findings
    assert report.orders == 3
