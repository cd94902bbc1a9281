"""Canonical text: worked examples, and what must hold for any string whatever."""

from __future__ import annotations

import hashlib
import time
import unicodedata

import opencc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.canonical import (
    CANONICAL_VERSION,
    MOST_MARKS,
    MappedText,
    canonical_text,
    canonicalise,
    is_traditional,
)

# Mixes that meet the special cases far more often than random characters do.
_TRICKY = st.sampled_from(
    [
        *"电話灣裡薴後乾１３８ＡＢ①⑳㎡ﷺ½…，。：　 \t\n\r\v\x85\u2028零〇一二三五九幺十百万- 0123abc",
        *(
            "\u200b",
            "\u200d",
            "\ufeff",
            "\u00ad",
            "\u202e",
            "\u2066",
            "\ufe0f",
            "\U000e0100",
            "\u180b",
            "\u20e3",
        ),
        *("\x00", "\x1b", "\ud800", "\udfff", "\u3164", "\u034f", "\U000e0041", "\ufffe", "\ue000"),
        *(
            "e",
            "\u0301",
            "\u0316",
            "\u0344",
            "\u00a8",
            "\u0338",
            "=",
            "か",
            "\u3099",
            "ｶ",
            "ﾞ",
            "\u0e33",
            "\u0f77",
        ),
        *(
            "\u1100",
            "\u1161",
            "\u11a8",
            "가",
            "ㅏ",
            "ￂ",
            "\u09c7",
            "\u09be",
            "\u0660",
            "🏠",
            "👨‍👩‍👧",
            "\U0002f800",
        ),
    ]
)
_ANY = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=60),
    st.lists(_TRICKY, max_size=60).map("".join),
    st.text("零一二三五九幺〇0123 -十万第、", max_size=40),
)
_PROPERTY = settings(deadline=None, max_examples=400)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("樓上漏水，電話沒人接", "楼上漏水,电话没人接"),
        ("Ｔｅｌ：１２３４５！？（急）", "Tel:12345!?(急)"),
        ("水管\u200b爆\ufeff了\u00ad吧\u202e\ufe0f", "水管爆了吧"),
        ("  停水\r\n\r\n三天\u3000\t了 ", "停水 三天 了"),
        ("①水費②電費", "(1)水费(2)电费"),
        ("1️⃣2️⃣3️⃣4️⃣5️⃣", "12345"),
        ("①13800000000", "(1)13800000000"),
        ("\u0661\u0662\u0663", "123"),
        ("㎡ ㈱ ½ …", "m2 (株) 1⁄2 ..."),
        ("\ufdfa", unicodedata.normalize("NFKC", "\ufdfa")),
        ("e\u0301\u200b\u0316", unicodedata.normalize("NFKC", "e\u0301\u0316")),
        ("\u1112\u1161\u11ab", "한"),
        ("ｶﾞｽ", "ガス"),
        ("a\x00b\ud800c\udfff", "abc"),
        ("", ""),
        ("\u200b \n", ""),
        ("大小写 ABC abc", "大小写 ABC abc"),
        ("薴", "苎"),
    ],
)
def test_examples(source: str, expected: str) -> None:
    assert canonicalise(source).text == expected
    assert canonical_text(source) == expected


@pytest.mark.parametrize(
    ("spoken", "written"),
    [
        ("我电话幺三八零零零零一二三四", "我电话13800001234"),
        ("打幺幺零不管用", "打110不管用"),
        ("幺三八 零零零零 一二三四", "138 0000 1234"),
        ("一八六二三三零九九五五", "18623309955"),
        ("138零零零零一二三四", "13800001234"),
        ("幺貳", "幺贰"),
        ("三千五百元", "三千五百元"),
        ("二〇二五年", "二〇二五年"),
        ("一二三四五楼都没水", "一二三四五楼都没水"),
        ("周一二三五六七上课", "周一二三五六七上课"),
        ("一万二三四五六", "一万二三四五六"),
        ("二三四五六万", "二三四五六万"),
        ("一一一一一一一", "一一一一一一一"),
        ("五五六六七七八十", "五五六六七七八十"),
        ("一、三、五、二、四", "一、三、五、二、四"),
        ("不管三七二十一", "不管三七二十一"),
    ],
)
def test_spoken_digits(spoken: str, written: str) -> None:
    assert canonicalise(spoken).text == written


def test_offsets_lead_back() -> None:
    source = "我\u200b家電話：１３８\u200b００００\n\n１２３４"
    mapped = canonicalise(source)
    assert mapped.text == "我家电话:1380000 1234"
    start = mapped.text.index("1380000")
    first, last = mapped.span(start, start + 7)
    assert source[first:last] == "１３８\u200b００００"
    space = mapped.text.index(" ")
    assert source[slice(*mapped.span(space, space + 1))] == "\n\n"
    assert mapped.source_length == len(source)


def test_every_character_of_a_ligature_leads_to_it() -> None:
    mapped = canonicalise("甲\ufdfa乙")
    assert len(mapped.text) == 20
    assert {mapped.span(i, i + 1) for i in range(1, 19)} == {(1, 2)}
    assert mapped.span(19, 20) == (2, 3)


def test_merged_characters_lead_to_all_they_came_from() -> None:
    mapped = canonicalise("x e\u200b\u0301 y")
    assert mapped.text == "x é y"
    assert mapped.span(2, 3) == (2, 5)


def test_empty_spans_are_empty_and_bad_spans_refused() -> None:
    mapped = canonicalise("ab")
    assert [mapped.span(i, i) for i in range(3)] == [(0, 0), (1, 1), (2, 2)]
    assert canonicalise("").span(0, 0) == (0, 0)
    for start, end in ((-1, 1), (0, 3), (2, 1)):
        with pytest.raises(IndexError):
            mapped.span(start, end)


def test_replaced_composes_with_the_map() -> None:
    mapped = canonicalise("我\u200b叫甲乙，住丙丁")
    edited = mapped.replaced([(2, 4, "[某]"), (6, 8, "")])
    assert edited.text == "我叫[某],住"
    assert edited.span(2, 5) == (3, 5)
    assert edited.span(2, 3) == (3, 5)
    assert edited.source_length == mapped.source_length
    _assert_sound(edited)


def test_too_many_marks_are_dropped() -> None:
    flood = canonicalise("e" + "\u0301\u0316" * 5000).text
    assert len(flood) <= MOST_MARKS + 1
    assert canonicalise(flood).text == flood


@pytest.mark.parametrize(
    ("text", "traditional"),
    [
        ("電梯壞了三個月，物業不管", True),
        ("电梯坏了三个月，物业不管", False),
        ("乾隆年间的老房子漏水了", False),
        ("12345", False),
        ("", False),
        ("裡", True),
    ],
)
def test_script(text: str, traditional: bool) -> None:
    assert is_traditional(text) is traditional


def test_version_names_the_table_in_use() -> None:
    """A new OpenCC may simplify otherwise; then this digest and CANONICAL_VERSION change together."""
    han = "".join(map(chr, range(0x4E00, 0xA000)))
    digest = hashlib.sha256(canonical_text(han).encode()).hexdigest()
    assert (CANONICAL_VERSION, digest[:16]) == ("canonical-1", "6793f916fc5a3512"), opencc.__version__


@_PROPERTY
@given(_ANY)
def test_idempotent(source: str) -> None:
    once = canonicalise(source).text
    assert canonicalise(once).text == once


@_PROPERTY
@given(_ANY)
def test_the_fast_path_agrees(source: str) -> None:
    assert canonical_text(source) == canonicalise(source).text


@_PROPERTY
@given(_ANY)
def test_maps_are_sound(source: str) -> None:
    mapped = canonicalise(source)
    _assert_sound(mapped)
    assert mapped.source_length == len(source)
    assert len(mapped.text) <= 18 * len(source)  # U+FDFA, the longest NFKC expansion


@_PROPERTY
@given(_ANY, st.data())
def test_the_source_of_a_stretch_means_the_same(source: str, data: st.DataObject) -> None:
    """Between spaces a word's source alone gives the word: spans can be shown instead of the text."""
    mapped = canonicalise(source)
    words = mapped.text.split(" ")
    which = data.draw(st.integers(0, len(words) - 1))
    start = sum(len(word) + 1 for word in words[:which])
    first, last = mapped.span(start, start + len(words[which]))
    again = canonicalise(source[first:last]).text
    if not any(
        c in "零〇一二三四五六七八九幺" for c in again + words[which]
    ):  # digits are read with their neighbours
        assert words[which] in again


@_PROPERTY
@given(_ANY)
def test_nothing_invisible_remains(source: str) -> None:
    text = canonicalise(source).text
    assert unicodedata.normalize("NFKC", text) == text
    assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)
    assert text == " ".join(text.split())
    text.encode()


@pytest.mark.parametrize(
    "piece", ["樓上漏水 １３８\u200b，", "e\u0301\u0316", "一 二三 幺", "\ufdfa\n", "\u1161"]
)
def test_time_is_linear(piece: str) -> None:
    def seconds(length: int) -> float:
        text = (piece * length)[:length]
        taken = []
        for _ in range(3):
            began = time.process_time()
            canonicalise(text)
            taken.append(time.process_time() - began)
        return min(taken)

    seconds(100)
    assert seconds(40_000) < 10 * seconds(10_000) + 0.02  # processor time: 4 times if linear, 16 if quadratic


def _assert_sound(mapped: MappedText) -> None:
    assert len(mapped.text) == len(mapped.starts) == len(mapped.ends)
    assert list(mapped.starts) == sorted(mapped.starts)
    assert list(mapped.ends) == sorted(mapped.ends)
    assert all(0 <= s < e <= mapped.source_length for s, e in zip(mapped.starts, mapped.ends, strict=True))
