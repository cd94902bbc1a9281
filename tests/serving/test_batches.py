from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from data.records import Role
from data.store.database import Database
from models.lanes import Lanes
from models.triage import Triage
from serving import batches as uploads
from tests.serving.batch_uploads import (
    NDJSON,
    assert_each_once,
    progress,
    results,
    send,
    sent,
    some_orders,
    text,
    work_off,
)
from tests.serving.conftest import Opened
from tests.serving.staffed import Service, an_order, assert_problem, everything
from tests.serving.test_ingress import key_of, over_asgi

MARK = "密语qzx"
UPLOAD = (b"content-type", b"application/x-ndjson")
KEY = (b"idempotency-key", b"b-1")


@pytest.fixture
def ruled(opened: Opened, database: Database, no_model: Triage) -> Service:
    """On both databases, where the rules answer."""
    return opened(database, no_model)


def broken_off(service: Service, *parts: bytes) -> None:
    """An upload whose sender vanishes after these parts."""
    messages = [{"type": "http.request", "body": body, "more_body": True} for body in parts]
    heard = over_asgi(
        service.app,
        [UPLOAD, KEY, key_of(service)],
        lambda number: messages[number] if number < len(parts) else {"type": "http.disconnect"},
        path="/v1/batches",
    )
    assert (heard.status, heard.body) == (0, b"")


def found(service: Service, key: str = "b-1") -> dict[str, Any]:
    """The batch under a key, as a sender who got no answer finds it."""
    answer = service.caller("intake").get("/v1/batches", params={"idempotency_key": key})
    (batch,) = answer.json()["items"]
    return dict(batch)


def test_a_batch_from_its_upload_to_its_decisions(service: Service) -> None:
    intake = service.caller("intake")
    first, second, third = some_orders(3)
    batch = sent(intake, text(first, b"{no json", second, {**third, "unknown": 1}))
    assert (batch["received"], batch["refused"], batch["decided"], batch["pending"]) == (4, 2, 0, 2)
    assert (batch["complete"], batch["finished"], batch["finished_at"]) == (True, False, None)
    assert results(intake, batch) == []
    work_off(service)
    batch = progress(intake, batch)
    assert (batch["received"], batch["refused"], batch["decided"], batch["pending"]) == (4, 2, 2, 0)
    assert (batch["complete"], batch["finished"]) == (True, True)
    lines = results(intake, batch)
    assert [line["line"] for line in lines] == [1, 2, 3, 4]
    assert [line["client_ref"] for line in lines] == ["row-1", None, "row-2", "row-3"]
    assert lines[1]["problem"]["code"] == "json_malformed"
    assert lines[3]["problem"]["code"] == "request_invalid"
    for line, order in ((lines[0], first), (lines[2], second)):
        decision = line["decision"]
        assert [decision[name] for name in ("source", "number")] == [order["source"], order["number"]]
        assert intake.get(f"/v1/orders/{decision['order_id']}").json() == decision
        assert decision["decision_source"] == "model"
    assert_each_once(service, 2)


def test_the_decision_is_the_one_that_a_single_order_gets(service: Service) -> None:
    order = an_order()
    single = service.caller("intake").post("/v1/orders", json=order).json()
    other = service.another("intake")
    batch = sent(other, text({**order, "number": f"{order['number']}-x"}))
    work_off(service)
    ((line),) = results(other, batch)
    own = {"order_id", "decision_id", "review_id", "number", "decided_at"}
    assert {name: value for name, value in line["decision"].items() if name not in own} == {
        name: value for name, value in single.items() if name not in own
    }


def valid(**changes: Any) -> bytes:
    return json.dumps(an_order(**changes), ensure_ascii=False).encode()


BAD_LINES = [
    f'{{"source":"{MARK}'.encode(),
    f'{{"source":"{MARK}"}} x'.encode(),
    f'"{MARK}"'.encode(),
    f'["{MARK}"]'.encode(),
    b"1",
    b"true",
    b"{}",
    b"\x00",
    b"NaN",
    b"\xef\xbb\xbf" + valid(title=MARK),
    valid(title=MARK).decode().encode("gb18030"),
    valid(title=MARK)[:-3] + b"\xe8\xb7" + b'"}',
    b"[" * 21 + b"]" * 21,
    b'{"a":' * 5000 + b"1" + b"}" * 5000,
    f'{{"source":"{MARK}","source":"{MARK}"}}'.encode(),
    f'{{"{MARK}":1,"{MARK}":2}}'.encode(),
    valid(revision="@").replace(b'"@"', b"NaN"),
    valid(revision="@").replace(b'"@"', b"9007199254740993"),
    valid(title=f"{MARK}@").replace(b"@", b"\\u0000"),
    valid(title=f"{MARK}@").replace(b"@", b"\\ud800"),
    valid(content=""),
    valid(content=MARK * 5000),
    valid(title=MARK * 50),
    valid(title=1),
    valid(source=f" {MARK}"),
    valid(number=f"{MARK}\x07"),
    valid(revision=0),
    valid(revision=1.5),
    valid(revision=MARK),
    valid(revision=2**31),
    valid(received_at="2026-03-02T09:15:00"),
    valid(received_at=MARK),
    valid(received_at=1),
    valid(received_at="1999-03-02T09:15:00Z"),
    valid(**{MARK: 1}),
    valid(channel={"a": MARK}),
    json.dumps({"source": MARK, "content": MARK}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("line", BAD_LINES, ids=range(len(BAD_LINES)))
def test_a_bad_line_has_the_problem_that_the_same_body_has(light: Service, line: bytes) -> None:
    intake = light.caller("intake")
    alone = intake.post("/v1/orders", content=line, headers={"Content-Type": "application/json"})
    problem = assert_problem(alone, alone.status_code, alone.json()["code"])
    batch = sent(intake, text(an_order(), line, an_order()))
    assert (batch["received"], batch["refused"]) == (3, 1)
    work_off(light)
    before, bad, after = results(intake, batch)
    assert "decision" in before
    assert "decision" in after
    assert set(bad) == {"line", "client_ref", "problem"}
    assert bad["problem"] == {name: value for name, value in problem.items() if name != "request_id"}
    assert MARK not in everything(bad)


def test_a_line_that_is_null_is_no_order(light: Service) -> None:
    batch = sent(light.caller("intake"), b"null")
    (line,) = results(light.caller("intake"), batch)
    assert line["problem"]["code"] == "request_invalid"
    assert line["problem"]["errors"] == [{"pointer": "", "detail": "应为 JSON 对象"}]


@pytest.mark.parametrize("reference", ["x" * 65, "", " x", "a\tb", 1, ["a"], {}])
def test_a_reference_is_a_name(light: Service, reference: Any) -> None:
    batch = sent(light.caller("intake"), text({**an_order(), "client_ref": reference}))
    (line,) = results(light.caller("intake"), batch)
    assert line["client_ref"] is None
    assert [item["pointer"] for item in line["problem"]["errors"]] == ["/client_ref"]


def test_a_reference_is_given_back_and_may_be_missing(light: Service) -> None:
    intake = light.caller("intake")
    orders = [{**an_order(), "client_ref": "行" * 64}, {**an_order(), "client_ref": None}, an_order()]
    batch = sent(intake, text(*orders))
    work_off(light)
    assert [line["client_ref"] for line in results(intake, batch)] == ["行" * 64, None, None]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\n\n", b" \r\n\t\n"])
@pytest.mark.parametrize("last", [True, False])
def test_lines_end_as_they_may(light: Service, end: bytes, last: bool) -> None:
    intake = light.caller("intake")
    body = text(*some_orders(3), end=end)
    batch = sent(intake, body if last else body[: -len(end)])
    assert (batch["received"], batch["refused"]) == (3, 0)
    work_off(light)
    assert [line["client_ref"] for line in results(intake, batch)] == ["row-1", "row-2", "row-3"]


def test_a_body_may_be_cut_anywhere(light: Service) -> None:
    """Inside a character of several bytes as well."""
    body = text(*some_orders(2, title="楼道😀堆物"))
    batch = sent(light.caller("intake"), (body[place : place + 1] for place in range(len(body))))
    assert (batch["received"], batch["refused"]) == (2, 0)


def test_a_huge_line_stops_nothing(opened: Opened, sqlite: Database, no_model: Triage) -> None:
    service = opened(sqlite, no_model, body_limit=2000)
    intake = service.caller("intake")
    fits = valid().ljust(2000)
    batch = sent(intake, text(fits, fits + b" ", b"x" * 300_000, an_order()))
    assert (batch["received"], batch["refused"]) == (4, 2)
    work_off(service)
    lines = results(intake, batch)
    assert ["problem" in line for line in lines] == [False, True, True, False]
    for line in lines[1:3]:
        assert (line["problem"]["code"], line["problem"]["status"]) == ("line_too_long", 413)
    assert sent(intake, text(fits, fits + b" ", b"x" * 300_000, an_order()), "b-2")["refused"] == 2
    assert_problem(send(intake, text(fits, fits + b" ", b"x" * 300_001)), 422, "batch_line_differs")


def test_a_batch_may_be_larger_than_any_other_body(light: Service) -> None:
    body = text(*some_orders(700, content="路灯不亮，" * 60))
    assert len(body) > 2 * light.settings.body_limit
    batch = sent(light.caller("intake"), body)
    assert (batch["received"], batch["refused"]) == (700, 0)


def test_a_batch_has_a_most_of_lines(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_LINES", 3)
    body = text(*some_orders(4))
    assert_problem(send(light.caller("intake"), body), 422, "batch_too_long")
    assert (found(light)["received"], found(light)["complete"]) == (3, False)
    rest = body.splitlines(keepends=True)
    assert sent(light.caller("intake"), b"".join(rest[:3]))["complete"]


def test_what_waits_is_not_readable_on_the_disk(light: Service) -> None:
    sent(light.caller("intake"), text(an_order(title=MARK, content=MARK * 20), f'{{"x":"{MARK}"'.encode()))
    with light.database.reading() as conn:
        file = Path(str(conn.engine.url.database))
    written = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))  # its journal, too
    assert b"json_malformed" in written
    assert MARK.encode() not in written


def test_sending_a_batch_again_changes_nothing(ruled: Service) -> None:
    intake, body = ruled.caller("intake"), text(*some_orders(3), b"{bad")
    batch = sent(intake, body)
    again = send(intake, body)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (202, "true")
    assert again.json() == batch
    work_off(ruled)
    later = send(intake, body)
    assert (later.json()["batch_id"], later.json()["decided"]) == (batch["batch_id"], 3)
    assert send(intake, b"", from_line=5).headers["idempotent-replayed"] == "true"
    assert_each_once(ruled, 3)


def test_a_complete_batch_is_neither_longer_nor_shorter_nor_another(ruled: Service) -> None:
    intake, lines = ruled.caller("intake"), text(*some_orders(3)).splitlines(keepends=True)
    batch = sent(intake, b"".join(lines))
    more = b"".join([*lines, text(an_order(title=MARK))])
    assert MARK not in everything(assert_problem(send(intake, more), 409, "batch_complete"))
    assert_problem(send(intake, text(an_order()), from_line=4), 409, "batch_complete")
    assert_problem(send(intake, b"".join(lines[:2])), 422, "batch_shorter")
    assert_problem(send(intake, b""), 422, "batch_shorter")
    other = b"".join([lines[0], text(an_order(title=MARK)), lines[2]])
    problem = assert_problem(send(intake, other), 422, "batch_line_differs")
    assert "第 2 行" in problem["detail"]
    assert MARK not in everything(problem)
    assert progress(intake, batch) == batch


def test_a_broken_upload_goes_on_from_its_start(ruled: Service) -> None:
    lines = text(*some_orders(4)).splitlines(keepends=True)
    broken_off(ruled, lines[0], lines[1] + lines[2][:-9])
    batch = found(ruled)
    assert (batch["received"], batch["complete"], batch["completed_at"]) == (2, False, None)
    intake = ruled.caller("intake")
    work_off(ruled)
    assert (progress(intake, batch)["decided"], progress(intake, batch)["finished"]) == (2, False)
    done = sent(intake, b"".join(lines))
    assert (done["batch_id"], done["received"], done["complete"]) == (batch["batch_id"], 4, True)
    work_off(ruled)
    assert [line["client_ref"] for line in results(intake, done)] == ["row-1", "row-2", "row-3", "row-4"]
    assert_each_once(ruled, 4)


def test_a_broken_upload_goes_on_where_it_broke(ruled: Service) -> None:
    lines = text(*some_orders(4)).splitlines(keepends=True)
    broken_off(ruled, b"".join(lines[:2]))
    intake = ruled.caller("intake")
    assert_problem(send(intake, lines[3], from_line=4), 409, "batch_gap")
    assert_problem(send(intake, lines[0] + lines[2], from_line=2), 422, "batch_line_differs")
    assert_problem(send(intake, lines[0]), 422, "batch_shorter")
    assert found(ruled)["received"] == 2
    done = sent(intake, b"".join(lines[1:]), from_line=2)
    assert (done["received"], done["complete"]) == (4, True)
    work_off(ruled)
    assert_each_once(ruled, 4)


def test_an_upload_that_broke_after_its_last_line_needs_only_its_end(ruled: Service) -> None:
    lines = text(*some_orders(2)).splitlines(keepends=True)
    broken_off(ruled, b"".join(lines))
    work_off(ruled)
    assert not found(ruled)["finished"]
    done = sent(ruled.caller("intake"), b"", from_line=3)
    assert (done["complete"], done["finished"]) == (True, True)


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\n"])
def test_no_lines_are_no_batch(light: Service, body: bytes) -> None:
    assert_problem(send(light.caller("intake"), body), 422, "batch_empty")
    assert_problem(send(light.caller("intake"), text(an_order()), from_line=2), 409, "batch_gap")
    assert light.caller("intake").get("/v1/batches").json() == {"items": [], "next": None}


def test_a_twin_of_an_upload_under_way_is_told_to_wait(light: Service) -> None:
    with light.app.state.desk.underway.claim(light.ids["intake"], "b:b-1"):
        refused = send(light.caller("intake"), text(an_order()))
        assert_problem(refused, 409, "idempotency_in_progress")
        assert sent(light.caller("intake"), text(an_order()), "b-2")
    assert sent(light.caller("intake"), text(an_order()))


def test_batches_give_way_before_callers_do(light: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = light.triage.lanes
    for waiting, status in ((2 * lanes.count, 202), (2 * lanes.count + 1, 503)):
        monkeypatch.setattr(Lanes, "waiting", lambda _, priority, waiting=waiting: waiting)
        answer = send(light.caller("intake"), text(an_order()), f"b-{waiting}")
        assert answer.status_code == status
    assert assert_problem(answer, 503, "overloaded")
    assert int(answer.headers["retry-after"]) > 0
    assert light.caller("intake").post("/v1/orders", json=an_order()).status_code == 201


def test_results_come_in_pages_that_skip_no_line(light: Service) -> None:
    intake = light.caller("intake")
    batch = sent(intake, text(*some_orders(5), b"{bad", *some_orders(1)))
    address = f"/v1/batches/{batch['batch_id']}/results"
    waiting = intake.get(f"{address}?after=0&limit=3")
    assert waiting.content == b""
    assert waiting.headers["link"] == f'<{address}?after=0&limit=3>; rel="next"'
    work_off(light)
    for limit in (1, 3, 7, 1000):
        assert [line["line"] for line in results(intake, batch, limit)] == [1, 2, 3, 4, 5, 6, 7]
    page = intake.get(f"{address}?after=2&limit=2")
    assert page.headers["link"] == f'<{address}?after=4&limit=2>; rel="next"'
    for after in (5, 7, 9):
        assert "link" not in intake.get(f"{address}?after={after}&limit=2").headers
    assert intake.get(f"{address}?after=7").content == b""


def test_an_unfinished_upload_s_results_go_on(light: Service) -> None:
    broken_off(light, text(*some_orders(2)))
    work_off(light)
    batch, intake = found(light), light.caller("intake")
    address = f"/v1/batches/{batch['batch_id']}/results"
    assert len(intake.get(address).content.splitlines()) == 2
    assert intake.get(address).headers["link"] == f'<{address}?after=2&limit=1000>; rel="next"'


def test_who_may_send_and_who_may_look(light: Service) -> None:
    batch = sent(light.caller("intake"), text(an_order()))
    place = f"/v1/batches/{batch['batch_id']}"
    may: dict[str, set[Role]] = {"send": {"intake", "admin"}, "read": {"intake", "admin", "auditor"}}
    for role in light.ids:
        client = light.caller(role)  # type: ignore[arg-type]
        assert (send(client, text(an_order()), "b-role").status_code == 202) == (role in may["send"]), role
        for address in ("/v1/batches", place, f"{place}/results"):
            status = client.get(address).status_code
            assert status == (200 if role in may["read"] else 403), (role, address)
    stranger = light.anyone()
    for address in ("/v1/batches", place, f"{place}/results"):
        assert_problem(stranger.get(address), 401, "key_missing")
    assert_problem(send(stranger, text(an_order())), 401, "key_missing")


def test_intake_sees_its_own_batches_only(light: Service) -> None:
    mine = sent(light.caller("intake"), text(an_order()))
    other = light.another("intake")
    for address in ("", "/results"):
        answer = other.get(f"/v1/batches/{mine['batch_id']}{address}")
        assert_problem(answer, 404, "batch_not_found")
    assert other.get("/v1/batches").json()["items"] == []
    theirs = sent(other, text(an_order()))
    assert theirs["batch_id"] != mine["batch_id"], "a key names a batch for its caller alone"
    assert light.caller("auditor").get("/v1/batches").json() == {"items": [theirs, mine], "next": None}
    first = light.caller("admin").get("/v1/batches", params={"limit": 1}).json()
    assert (first["items"], first["next"]) == ([theirs], theirs["batch_id"])
    second = light.caller("admin").get("/v1/batches", params={"limit": 1, "after": first["next"]}).json()
    assert (second["items"], second["next"]) == ([mine], None)
    unknown = light.caller("admin").get("/v1/batches/0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f")
    assert_problem(unknown, 404, "batch_not_found")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Content-Type": "application/json"}, 415, "unsupported_media_type"),
        ({"Content-Type": "text/plain"}, 415, "unsupported_media_type"),
        ({"Content-Type": "application/x-ndjson; charset=gbk"}, 415, "unsupported_media_type"),
        ({**NDJSON, "Content-Encoding": "gzip"}, 415, "content_encoding"),
        ({**NDJSON, "Content-Length": "1e3"}, 400, "request_malformed"),
        ({**NDJSON, "Idempotency-Key": "a key"}, 422, "request_invalid"),
        ({"Content-Type": 'application/x-ndjson; charset="UTF-8"'}, 202, None),
        ({**NDJSON, "Content-Encoding": "identity"}, 202, None),
    ],
)
def test_headers_of_an_upload(light: Service, headers: dict[str, str], status: int, code: str | None) -> None:
    given = {"Idempotency-Key": "b-1", **headers}
    answer = light.caller("intake").post("/v1/batches", content=text(an_order()), headers=given)
    assert answer.status_code == status, answer.text
    if code is not None:
        assert_problem(answer, status, code)


def test_an_upload_without_a_key_is_refused(light: Service) -> None:
    answer = light.caller("intake").post("/v1/batches", content=text(an_order()), headers=NDJSON)
    problem = assert_problem(answer, 422, "request_invalid")
    assert [item["parameter"] for item in problem["errors"]] == ["Idempotency-Key"]


@pytest.mark.parametrize("from_line", ["0", "-1", "x", "1000002"])
def test_a_line_number_is_one(light: Service, from_line: str) -> None:
    answer = send(light.caller("intake"), text(an_order()), from_line=from_line)
    assert_problem(answer, 422, "request_invalid")


def test_batches_are_counted(light: Service) -> None:
    intake = light.caller("intake")
    sent(intake, text(an_order(), b"{bad", an_order()))

    def counted() -> set[str]:
        return {line for line in intake.get("/metrics").text.splitlines() if "mingbian_batch_lines" in line}

    assert {
        'mingbian_batch_lines_total{result="refused"} 1.0',
        "mingbian_batch_lines_pending 2.0",
    } <= counted()
    work_off(light)
    expected = {'mingbian_batch_lines_total{result="decided"} 2.0', "mingbian_batch_lines_pending 0.0"}
    assert expected <= counted()
