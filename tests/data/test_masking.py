"""Masking: worked examples with invented data, and what must hold for any text."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.canonical import canonicalise
from data.masking import PLACEHOLDERS, mask, read_text

# Resident numbers of nobody: region 110000 is a whole province, which registers no births.
_ID = "110000199001010005"
_ID_WITH_X = "11000019900101003X"
_OLD_ID = "110000900101001"
_CARD = "6200000000000000000"  # passes Luhn

_FRAGMENTS = st.sampled_from(
    [
        *(
            "13800000001",
            "138 0000 0001",
            "1 3 8 0 0 0 0 0 0 0 1",
            "+86",
            "0731-88880000",
            "(0731)",
            "400-800-1234",
        ),
        *(
            _ID,
            _ID_WITH_X,
            _OLD_ID,
            _CARD,
            "12345",
            "110",
            "2024-05-06",
            "8888",
            "501",
            "3.5",
            "万元",
            "元",
            "0",
        ),
        *(
            "电话",
            "手机:",
            "短号",
            "QQ",
            "身份证",
            "卡号",
            "账号",
            "订单号",
            "工单",
            "编号",
            "护照",
            "E12345678",
            "X",
        ),
        *(
            "湘A",
            "12345",
            "D12345",
            "警",
            "a@b.cn",
            "@",
            "人民路",
            "街",
            "12号",
            "3栋",
            "2单元",
            "A座",
            "室",
            "-",
            "号",
        ),
        *(
            "我叫",
            "联系人",
            "业主",
            "姓名:",
            "本人",
            "张",
            "伟",
            "小红",
            "高",
            "方",
            "安全",
            "欧阳",
            "万",
            "文",
            "易",
            "明",
        ),
        *(
            "先生",
            "女士",
            "局长",
            "市长",
            "老师",
            "警官",
            "反映",
            "的",
            "局",
            "对",
            "公",
            "。",
            ",",
            " ",
            "(",
            "]",
            "[",
        ),
        *PLACEHOLDERS,
        *("\u0332", "\u200b", "\ud800", "幺三八", "零零零零", "电話", "１３８"),
    ]
)
_ANY = st.one_of(
    st.text(st.characters(exclude_categories=[]), max_size=60),
    st.lists(_FRAGMENTS, max_size=24).map("".join),
    st.text("张王高方万文伟明红先生女士我叫业主局长的0123号栋室", max_size=40),
    st.text("0123456789 -.()X元路号栋", max_size=60),
)
_PROPERTY = settings(deadline=None, max_examples=500)


def _masked(text: str) -> str:
    return read_text("", text).content.text


@pytest.mark.parametrize(
    "number",
    [
        "13800000001",
        "138-0000-0001",
        "138 0000 0001",
        "138.0000.0001",
        "1 3 8 0 0 0 0 0 0 0 1",
        "１３８０００００００１",
        "138\u200b0000\u200b0001",
        "1\u03323\u03328\u033200000001",
        "1️⃣3️⃣8️⃣0️⃣0️⃣0️⃣0️⃣0️⃣0️⃣0️⃣1️⃣",
        "幺三八零零零零零零零幺",
        "一三八零零零零零零零一",
        "+86 138 0000 0001",
        "008613800000001",
        "0731-88880000",
        "(0731)88880000",
        "010-66660000-801",
        "021 6666 0000",
        "400-800-1234",
        "8008001234",
        "13800000001/13900000002",
    ],
)
def test_telephones(number: str) -> None:
    assert _masked(f"请回{number}，谢谢") == "请回[电话],谢谢"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("电话88880000", "电话[电话]"),
        ("座机是 8888-0000", "座机是 [电话]"),
        ("QQ：123456", "QQ:[电话]"),
        ("短号66123", "短号[电话]"),
        ("编88880000", "编88880000"),
        (f"身份证号{_ID}", "身份证号[证件]"),
        (f"我{_ID}啊", "我[证件]啊"),
        ("我110000 19900101 0005啊", "我[证件]啊"),
        (f"我{_ID_WITH_X}啊", "我[证件]啊"),
        (f"我{_ID_WITH_X.lower()}啊", "我[证件]啊"),
        (f"我{_OLD_ID}啊", "我[证件]啊"),
        ("身份证110000199001010008", "身份证[证件]"),  # mistyped, yet said to be one
        ("护照号E12345678", "护照号[证件]"),
        (f"打到{_CARD}", "打到[银行卡]"),
        ("打到6200 0000 0000 0000 000", "打到[银行卡]"),
        ("卡号6200000000000001", "卡号[银行卡]"),
        ("账号：123456789012", "账号:[银行卡]"),
        ("车牌湘A12345占道", "车牌[车牌]占道"),
        ("湘AD12345和湘A·1234警、粤B1234学、京a1234挂", "[车牌]和[车牌]、[车牌]、[车牌]"),
        ("写信到someone.a@example.com.cn吧", "写信到[邮箱]吧"),
        ("13800000001@example.com", "[邮箱]"),
    ],
)
def test_other_numbers(text: str, expected: str) -> None:
    assert _masked(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "打12345、110、120、119、12315、95598、12333都没人管",
        "订单号13800000001一直不发货",
        "工单号:20240506123456789",
        "工程总价13800000001元",
        "2024-05-06 10:30停水,2024年5月3号来过",
        "2024050612345678",
        "我110000199001010008啊",  # wrong check digit
        "我110000199013010005啊",  # no such month
        "6200000000000000009",  # fails Luhn
        "3.14159265358979",
        "100平米,3室2厅,两室一厅,共300户",
        "云A座楼下,新A1234567",
        "1381234567和138123456789",
        "地铁2号线,铁路3号桥,3号楼停电,幸福里3栋电梯坏了",
        "一栋三层楼房,3栋5栋7栋都停水,解放街道12号开会",
        "业主高兴,业主安全,业主曾多次反映,任何医生,对方律师,公安局长,语文老师",
        "吴江市长,我叫人来开门,谢谢医生,李某某女士,易燃品,武警官兵",
        "张贴告示,王府井,黄色线,高中老师,贸易部长",
    ],
)
def test_what_stays(text: str) -> None:
    assert _masked(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我叫张小禾，家住城东", "我叫[姓名],家住城东"),
        ("联系人：欧阳小禾 13800000001", "联系人:[姓名] [电话]"),
        ("姓名：高禾", "姓名:[姓名]"),
        ("市民陈小禾来电反映", "市民[姓名]来电反映"),
        ("业主王禾，不满", "业主[姓名],不满"),
        ("張小禾先生反映", "[姓名]先生反映"),
        ("来电人王女士反映", "来电人[姓名]女士反映"),
        ("物业经理陈小禾女士", "物业经理[姓名]女士"),
        ("城管局张局长和欧阳主任", "城管局[姓名]局长和[姓名]主任"),
        ("找高村长，找方老师", "找[姓名]村长,找[姓名]老师"),
        ("人民路12号3栋2单元501室", "人民路[地址]"),
        ("某市某区城东街道朝阳街 12 号附近", "某市某区城东街道朝阳街 [地址]附近"),
        ("幸福里小区三栋二单元五零一室漏水", "幸福里小区[地址]漏水"),
        ("幸福里3栋501住户", "幸福里[地址]住户"),
        ("幸福里3-2-501室", "幸福里[地址]"),
        ("王家村3组12号", "王家村[地址]"),
        ("上海路12弄3号502室", "上海路[地址]"),
    ],
)
def test_names_and_addresses(text: str, expected: str) -> None:
    assert _masked(text) == expected


def test_spans_lead_to_the_source_and_the_reading_is_the_text() -> None:
    source = "電話：１３８\u200b0000 0001，找張小禾先生"
    order = read_text("樓道", source)
    text = order.content
    assert text.text == "电话:[电话],找[姓名]先生"
    for placeholder, hidden in (("[电话]", "１３８\u200b0000 0001"), ("[姓名]", "張小禾")):
        start = text.text.index(placeholder)
        first, last = text.span(start, start + len(placeholder))
        assert source[first:last] == hidden
    assert (order.reading.title, order.reading.content) == ("楼道", text.text)


@_PROPERTY
@given(_ANY)
def test_idempotent(source: str) -> None:
    once = mask(canonicalise(source))
    assert mask(once) == once


@_PROPERTY
@given(_ANY)
def test_maps_stay_sound_and_the_rest_stays_text(source: str) -> None:
    canonical = canonicalise(source)
    masked = mask(canonical)
    assert len(masked.text) == len(masked.starts) == len(masked.ends)
    assert list(masked.starts) == sorted(masked.starts)
    assert list(masked.ends) == sorted(masked.ends)
    assert masked.source_length == len(source)
    kept = masked.text
    for placeholder in PLACEHOLDERS:
        kept = kept.replace(placeholder, "\n")
    rest = iter(canonical.text)
    assert all(
        character in rest for character in kept if character != "\n"
    )  # a subsequence: nothing is invented


@settings(_PROPERTY, max_examples=100)
@given(st.text(max_size=20), st.integers(13_000_000_000, 19_999_999_999), st.text(max_size=20))
def test_no_mobile_number_survives(before: str, number: int, after: str) -> None:
    source = f"{before}电话{number}。{after}"
    assert str(number) not in _masked(source)


@pytest.mark.parametrize(
    "piece",
    [
        "1 ",
        "13 ",
        "1380 ",
        "电话:1",
        "3栋501 ",
        "1-",
        "路3号",
        "张先生",
        "我叫张",
        "高",
        "a@",
        "a.",
        "湘A1",
        "先生",
        "E1",
    ],
)
def test_time_is_linear(piece: str) -> None:
    def seconds(length: int) -> float:
        text = canonicalise((piece * length)[:length])
        taken = []
        for _ in range(2):
            began = time.process_time()
            mask(text)
            taken.append(time.process_time() - began)
        return min(taken)

    assert seconds(12_000) < 10 * seconds(3_000) + 0.02  # processor time: 4 times if linear, 16 if quadratic
