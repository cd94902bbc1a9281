from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import BadInput
from serving.strict_json import MAX_DEPTH, MAX_INTEGER, check

KNOWN = frozenset({"source", "content", "items"})
MARK = "回声qzx"


def refused(body: bytes) -> BadInput:
    with pytest.raises(BadInput) as caught:
        check(body, KNOWN)
    error = caught.value
    for text in (error.detail, *(f"{fault.pointer} {fault.detail}" for fault in error.faults)):
        assert MARK not in text
    return error


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b" \t\r\n[]\n",
        b"null",
        '{"content":"汉字 😀 \\u4f60 \\ud83d\\ude00 [{[{"}'.encode(),
        b'{"items":[1,-1.5,0.0,1e300,9007199254740991,-9007199254740991,true,false,null]}',
        b'{"source":{"content":1},"content":{"content":2}}',
        b"[" * MAX_DEPTH + b"]" * MAX_DEPTH,
        b'{"content":"' + b"[" * 100 + b'\\"{{{"}',
        '{"content":"\ufeff"}'.encode(),
    ],
)
def test_json_that_all_readers_understand_alike_passes(body: bytes) -> None:
    check(body, KNOWN)


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        (b"\xef\xbb\xbf{}", "json_byte_order_mark", ""),
        (b'{"content":"\xff"}', "json_not_utf8", ""),
        (b'{"content":"\xed\xa0\x80"}', "json_not_utf8", ""),
        (b'{"content":"\xc0\x80"}', "json_not_utf8", ""),
        ('{"content":"ascii"}'.encode("utf-16-le"), "json_malformed", ""),
        ('{"content":"编码"}'.encode("gbk"), "json_not_utf8", ""),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "json_too_deep", ""),
        (b'{"source":' * 21 + b"1" + b"}" * 21, "json_too_deep", ""),
        (b"", "json_malformed", ""),
        (f'{{"{MARK}'.encode(), "json_malformed", ""),
        (f'{{"content":"{MARK}",}}'.encode(), "json_malformed", ""),
        (f"{{'content':'{MARK}'}}".encode(), "json_malformed", ""),
        (f'{{}} "{MARK}"'.encode(), "json_malformed", ""),
        (b'{"content":"\n"}', "json_malformed", ""),
        (b'{"content":01}', "json_malformed", ""),
        (b'{"content":"\\x41"}', "json_malformed", ""),
        (b"// comment\n{}", "json_malformed", ""),
        (b'{"source":1,"source":2}', "json_duplicate_key", "/source"),
        (f'{{"{MARK}":1,"{MARK}":2}}'.encode(), "json_duplicate_key", ""),
        (b'{"items":[{"source":1},{"source":1,"\\u0073ource":2}]}', "json_duplicate_key", "/items/1/source"),
        (b'{"content":NaN}', "json_number", "/content"),
        (b'{"content":Infinity}', "json_number", "/content"),
        (b'{"items":[0,-Infinity]}', "json_number", "/items/1"),
        (b'{"content":1e999}', "json_number", "/content"),
        (b'{"content":-1e999}', "json_number", "/content"),
        (b'{"content":%d}' % (MAX_INTEGER + 1), "json_number", "/content"),
        (b'{"content":%d}' % (-MAX_INTEGER - 1), "json_number", "/content"),
        (f'{{"{MARK}":NaN}}'.encode(), "json_number", ""),
        (b'{"content":"a\\u0000b"}', "text_nul", "/content"),
        (b'{"con\\u0000tent":"b"}', "text_nul", ""),
        (f'{{"{MARK}":"\\u0000"}}'.encode(), "text_nul", ""),
        (b'{"content":"\\ud800"}', "text_lone_surrogate", "/content"),
        (b'{"content":"\\udc00\\ud800"}', "text_lone_surrogate", "/content"),
        (b'["\\ud83d", "\\ude00"]', "text_lone_surrogate", "/0"),
        (b'{"\\ud800":1}', "text_lone_surrogate", ""),
    ],
)
def test_ambiguous_or_unstorable_json_is_refused(body: bytes, code: str, pointer: str) -> None:
    error = refused(body)
    assert error.code == code
    assert error.faults[0].pointer == pointer


def test_every_fault_is_named_up_to_twenty() -> None:
    error = refused(b'{"source":NaN,"content":"\\u0000","items":[' + b",".join([b"NaN"] * 30) + b"]}")
    assert [fault.pointer for fault in error.faults[:3]] == ["/source", "/content", "/items/0"]
    assert len(error.faults) == 20


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 250_000,
        b'{"a":' * 50_000,
        b'"' + b'\\"' * 125_000,
        b'"' * 250_001,
        b"9" * 250_000,
        b"1e" + b"9" * 250_000,
        b"[" + b"1," * 120_000 + b"1]",
        b'{"content":"' + b"\\u0000" * 40_000 + b'"}',
        b"[" + b"NaN," * 60_000 + b"NaN]",
    ],
    ids=range(9),
)
def test_no_body_of_the_largest_size_takes_long(body: bytes) -> None:
    began = time.process_time()
    with suppress(BadInput):
        check(body, KNOWN)
    assert time.process_time() - began < 5


_TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)
_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-MAX_INTEGER, MAX_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(_VALUES, st.booleans())
def test_what_a_careful_writer_writes_passes(value: Any, ascii_only: bool) -> None:
    check(json.dumps(value, ensure_ascii=ascii_only).encode(), KNOWN)


@given(st.binary(max_size=60) | st.text('{}[]":,\\ue\u0000019.nNaItfIy-', max_size=40).map(str.encode))
def test_any_bytes_pass_or_are_refused(body: bytes) -> None:
    code = ""
    try:
        check(body, KNOWN)
    except BadInput as error:
        code = error.code
    if code:
        assert code.startswith(("json_", "text_"))
    else:
        json.loads(body)
