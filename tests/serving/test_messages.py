from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from serving.messages import NewOrder
from serving.review_messages import Resolution

# What pattern and code could disagree on: every kind of white space, controls, and an ordinary character.
_EDGE = "".join(
    chr(point) for point in range(0x3100) if chr(point).isspace() or point < 0x20 or point == 0x7F
)
_TEXT = st.text(st.sampled_from(_EDGE + "\ufeff\u200b\u2060路a") | st.characters(codec="utf-8"), max_size=6)

ORDER = {"source": "city", "number": "1", "content": "路灯不亮"}
RESOLUTION = {
    "verdict": "reasonable",
    "kind": "help",
    "subject": "urban_rural",
    "disposition": "dispatch",
    "reason": "应当受理。",
    "fence": 1,
}


def described(shape: type[Any], member: str) -> dict[str, Any]:
    """The schema of a member's text, as the API's description gives it."""
    schema = shape.model_json_schema()["properties"][member]
    found: dict[str, Any] = next((part for part in schema.get("anyOf", ()) if "pattern" in part), schema)
    return found


def taken(shape: type[Any], body: dict[str, Any]) -> bool:
    try:
        TypeAdapter(shape).validate_python(body)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("member", ["source", "number", "channel", "region"])
@given(value=_TEXT)
@example(value="")
@example(value="0\n")
@example(value="a" * 64)
@example(value="a" * 65)
def test_names_are_refused_just_as_they_are_described(member: str, value: str) -> None:
    schema = described(NewOrder, member)
    fits = schema["minLength"] <= len(value) <= schema["maxLength"]
    # ECMA-262's `$`, which JSON Schema means, is the very end; Python's also stands before a last newline.
    pattern = re.sub(r"\$$", r"\\Z", schema["pattern"])
    allowed = fits and re.search(pattern, value) is not None
    assert taken(NewOrder, {**ORDER, member: value}) == allowed


@pytest.mark.parametrize("member", ["reason", "change_reason"])
@given(value=_TEXT.filter(lambda value: "\0" not in value))
def test_reasons_are_refused_just_as_they_are_described(member: str, value: str) -> None:
    """U+0000, which the patterns forbid as well, never gets past the ingress."""
    allowed = re.search(described(Resolution, member)["pattern"], value) is not None
    assert taken(Resolution, {**RESOLUTION, member: value}) == allowed


@pytest.mark.parametrize(
    ("shape", "member"), [(NewOrder, "title"), (NewOrder, "content"), (Resolution, "reason")]
)
def test_a_text_with_a_nul_is_described_as_refused(shape: type[Any], member: str) -> None:
    pattern = described(shape, member)["pattern"]
    assert re.search(pattern, "路灯\n不亮")
    assert not re.search(pattern, "路灯\0不亮")


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        ("2026-03-02T09:15:00+08:00", True),
        ("2026-03-02t09:15:00.123456z", True),
        ("2026-03-02 09:15:00Z", True),
        ("1999-12-31T23:59:59Z", False),
        ("2026-03-02T09:15:00", False),
        ("2026-03-02", False),
        ("２026-03-02T09:15:00Z", False),
        ("2026-03-02T09:15:00Z\n", False),
        ("2026-03-02T09:15:00.1234567Z", False),
    ],
)
def test_times_are_refused_just_as_they_are_described(value: str, allowed: bool) -> None:
    pattern = described(NewOrder, "received_at")["pattern"]
    assert (re.search(pattern.removesuffix("$") + r"\Z", value) is not None) == allowed
    assert taken(NewOrder, {**ORDER, "received_at": value}) == allowed


@pytest.mark.parametrize(
    ("value", "allowed"),
    [
        (1, True),
        (2.0, True),
        (1e3, True),
        (1.5, False),
        (0.0, False),
        (1e300, False),
        (True, False),
        ("1", False),
    ],
)
def test_a_whole_number_is_whole_however_it_is_written(value: Any, allowed: bool) -> None:
    """JSON Schema's `integer` is a value, not a spelling; some languages write every number with a point."""
    assert taken(NewOrder, {**ORDER, "revision": value}) == allowed
    if allowed:
        assert NewOrder.model_validate({**ORDER, "revision": value}).revision == int(value)
        assert type(NewOrder.model_validate({**ORDER, "revision": value}).revision) is int
