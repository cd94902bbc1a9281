from __future__ import annotations

import logging
from typing import NoReturn

import pytest
from starlette.exceptions import HTTPException

from data.errors import BadInput, Conflict, Fault, MingbianError, NotAllowed, NotFound, Unavailable
from serving.errors import failure_of
from tests.serving.staffed import Service, an_order, assert_problem

SECRET = "密语qzx"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("order_not_found", "没有找到。"), 404),
        (Conflict("order_exists", "已经受理。"), 409),
        (Conflict("version_stale", "已更新。"), 412),
        (NotAllowed("key_unknown", "密钥无效。"), 401),
        (NotAllowed("key_missing", "没有密钥。"), 401),
        (NotAllowed("forbidden", "没有权限。"), 403),
        (NotAllowed("page_expired", "页面失效。"), 403),
        (BadInput("json_malformed", "语法错误。"), 400),
        (BadInput("text_nul", "空字符。"), 400),
        (BadInput("request_malformed", "无法读取。"), 400),
        (BadInput("body_too_large", "过大。"), 413),
        (BadInput("line_too_long", "过长。"), 413),
        (BadInput("upload_stalled", "中断。"), 408),
        (BadInput("unsupported_media_type", "类型。"), 415),
        (BadInput("content_encoding", "压缩。"), 415),
        (BadInput("content_too_long", "过长。"), 422),
        (BadInput("idempotency_mismatch", "不同。"), 422),
        (Unavailable("database_unavailable", "不可用。", 7), 503),
        (HTTPException(404), 404),
        (HTTPException(405, headers={"Allow": "GET"}), 405),
        (HTTPException(400), 400),
        (HTTPException(500), 500),
        (RuntimeError(SECRET), 500),
        (ValueError(SECRET), 500),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int) -> None:
    failure = failure_of(error)
    assert failure.status == status
    assert SECRET not in failure.detail
    if isinstance(error, MingbianError):
        assert (failure.code, failure.detail) == (error.code, error.detail)


def test_errors_say_what_to_do_next_in_headers() -> None:
    assert failure_of(Unavailable("x", "不可用。", 7)).headers["Retry-After"] == "7"
    assert (
        failure_of(NotAllowed("key_missing", "没有密钥。")).headers["WWW-Authenticate"].startswith("Bearer")
    )
    assert "WWW-Authenticate" not in failure_of(NotAllowed("forbidden", "没有权限。")).headers
    assert failure_of(HTTPException(405, headers={"Allow": "GET"})).headers["Allow"] == "GET"


def test_faults_become_pointers() -> None:
    failure = failure_of(BadInput("labels_invalid", "有误。", (Fault("/content", "过长。"),)))
    assert [(item.pointer, item.detail) for item in failure.items] == [("/content", "过长。")]


def test_an_unknown_address_and_a_wrong_method(light: Service) -> None:
    client = light.caller("admin")
    assert_problem(client.get(f"/v1/{SECRET}"), 404, "route_not_found")
    refused = client.delete("/v1/orders")
    assert_problem(refused, 405, "method_not_allowed")
    assert "POST" in refused.headers["allow"]


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"content": ""}, ["/content"]),
        ({"content": None}, ["/content"]),
        ({"content": [SECRET]}, ["/content"]),
        ({"title": SECRET * 100}, ["/title"]),
        ({"number": "", "source": " "}, ["/number", "/source"]),
        ({"number": f"{SECRET}\n"}, ["/number"]),
        ({"revision": "1"}, ["/revision"]),
        ({"revision": 0}, ["/revision"]),
        ({"revision": 2**31}, ["/revision"]),
        ({"revision": 1.5}, ["/revision"]),
        ({"revision": True}, ["/revision"]),
        ({"received_at": "2026-03-02"}, ["/received_at"]),
        ({"received_at": "2026-03-02T09:15:00"}, ["/received_at"]),
        ({"received_at": "2026-13-02T09:15:00Z"}, ["/received_at"]),
        ({"received_at": 1}, ["/received_at"]),
        ({"channel": "x" * 65}, ["/channel"]),
        ({SECRET: SECRET}, [""]),
    ],
)
def test_each_fault_of_an_order_is_pointed_at(
    light: Service, changes: dict[str, object], pointers: list[str]
) -> None:
    answer = light.caller("intake").post("/v1/orders", json=an_order(**changes))
    problem = assert_problem(answer, 422, "request_invalid")
    assert sorted(item["pointer"] for item in problem["errors"]) == sorted(pointers)
    assert SECRET not in answer.text


def test_wrong_parameters_are_named(light: Service) -> None:
    client = light.caller("auditor")
    for address, parameter in (
        (f"/v1/orders/{SECRET}", "order_id"),
        ("/v1/audit/inclusion?index=x", "index"),
        ("/v1/audit/inclusion", "index"),
        ("/v1/audit/consistency?old=-1", "old"),
    ):
        answer = client.get(address)
        problem = assert_problem(answer, 422, "request_invalid")
        assert [item["parameter"] for item in problem["errors"]] == [parameter]
        assert SECRET not in answer.text


def test_an_unforeseen_error_is_a_500_that_says_nothing_of_it(
    light: Service, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> NoReturn:
        raise RuntimeError(SECRET)

    light.app.add_api_route("/v1/broken", broken, response_model=None)
    with caplog.at_level(logging.DEBUG):
        answer = light.anyone().get("/v1/broken")
    problem = assert_problem(answer, 500, "internal_error")
    assert SECRET not in answer.text
    (entry,) = [record for record in caplog.records if record.name == "mingbian.errors"]
    assert entry.request_id == problem["request_id"]
    assert entry.error == "RuntimeError"
    assert any("broken" in frame for frame in entry.frames)
    assert not any(SECRET in str(vars(record)) for record in caplog.records)


def test_people_get_a_page_and_software_a_problem(light: Service) -> None:
    page = light.anyone().get("/nowhere", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert page.headers["x-request-id"] in page.text
    assert_problem(light.anyone().get("/nowhere"), 404, "route_not_found")
    assert_problem(light.anyone().get("/v1/nowhere", headers={"Accept": "text/html"}), 404, "route_not_found")


def test_a_person_without_a_session_is_sent_to_log_in(light: Service) -> None:
    answer = light.anyone(follow_redirects=False).get("/review", headers={"Accept": "text/html"})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/login")


@pytest.mark.parametrize(
    ("address", "methods"),
    [
        ("/login", "GET, HEAD, POST"),
        ("/v1/batches", "GET, POST"),
        ("/v1/orders", "POST"),
        ("/livez", "GET, HEAD"),
        ("/review/0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f/claim", "POST"),
    ],
)
def test_an_address_names_every_method_that_it_takes(light: Service, address: str, methods: str) -> None:
    answer = light.anyone().request("DELETE", address)
    assert_problem(answer, 405, "method_not_allowed")
    assert answer.headers["allow"] == methods
