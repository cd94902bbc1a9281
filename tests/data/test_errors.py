from __future__ import annotations

import pickle

import pytest

from data.errors import BadInput, Conflict, Fault, MingbianError, NotAllowed, NotFound, Unavailable


@pytest.mark.parametrize(
    "error",
    [
        NotFound("order_not_found", "没有找到该工单。"),
        Conflict("version_stale", "已有变化。"),
        NotAllowed("role_missing", "没有权限。"),
        BadInput("body_invalid", "有误。", (Fault("/title", "太长"),)),
        Unavailable("overloaded", "繁忙。", 7),
    ],
)
def test_an_error_crosses_processes_whole(error: MingbianError) -> None:
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), vars(copy)) == (type(error), vars(error))
    assert str(copy) == str(error) == f"{error.code}: {error.detail}"
