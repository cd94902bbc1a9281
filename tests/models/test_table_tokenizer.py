from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.implementations import BertWordPieceTokenizer

from data.masking import PLACEHOLDERS, read_text
from data.settings import ROOT
from models.table_tokenizer import TableTokenizer

BUNDLE = ROOT / "models" / "bundles" / "default"
SHIPPED = (BUNDLE / "tokenizer.json").read_text(encoding="utf-8")
MAX_TOKENS = json.loads((BUNDLE / "settings.json").read_text(encoding="utf-8"))["max_tokens"]
PIECES = sorted(json.loads(SHIPPED)["model"]["vocab"])
LIMITS = (0, 1, 2, 3, 4, 5, 6, 7, 8, 13, 16, MAX_TOKENS)

FRAGMENTS = st.sampled_from(
    [
        *("路", "灯", "坏了,请派人来修。", "12345", "3号楼", "!?;:()[]", "，。！？", "（）《》", "１２Ａｂ"),
        *PLACEHOLDERS,
        *("[电话", "电话]", "[[电话]]", "[电话]话]", "[ 电话]", "[CLS]", "[SEP", "[unk]", "[MASK]x", "["),
        *("gdp", "GDP", "App", "WiFi", "x", "ss", "##a", "don't", "a1b2", "e-mail", "ab" * 32, "z" * 65),
        *("İ", "ΟΔΟΣ", "ß", "ẞ", "Å", "e\u0301", "é", "\u0301", "\u0338", "ǅ", "Ⅳ", "ﬁ", "й"),
        *("ひら", "カナ", "한글", "²", "½", "①", "٣", "〇", "一", "𝟙", "㊀", "㍻"),
        *("𠮷", "𪚥", "䶵", "豈", "\U0002fa1d", "😤", "\U0001f468\u200d\U0001f469", "🇨🇳", "\ufe0f"),
        *(" ", "  ", "\n", "\t", "\r", "\v\f", "\u0085", "\u00a0", "\u1680", "\u2003", "\u2028", "\u3000"),
        *("\0", "\x1c", "\x1f", "\x7f", "\u00ad", "\u180e", "\u200b", "\u200d", "\ufeff", "\ufffd", "\uffff"),
    ]
)
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(FRAGMENTS, max_size=24).map("".join),
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(st.characters(max_codepoint=0x24F), max_size=70),
    st.text("abzABZ[]电话 1,", max_size=80),
)
PROPERTY = settings(deadline=None, max_examples=400)

Answer = tuple[list[int], list[int], bool]


@cache
def table(tokenizer_json: str = SHIPPED, max_tokens: int = MAX_TOKENS) -> Callable[[str, str], Answer]:
    tokenizer = TableTokenizer(tokenizer_json, max_tokens)

    def answer(title: str, content: str) -> Answer:
        encoded = tokenizer.encode(title, content)
        return encoded.ids, encoded.segments, encoded.truncated

    return answer


@cache
def library(tokenizer_json: str = SHIPPED, max_tokens: int = MAX_TOKENS) -> Callable[[str, str], Answer]:
    tokenizer = Tokenizer.from_str(tokenizer_json)
    tokenizer.enable_truncation(max_tokens)

    def answer(title: str, content: str) -> Answer:
        encoding = tokenizer.encode(title, content)
        return encoding.ids, encoding.type_ids, bool(encoding.overflowing)

    return answer


class Counted:
    """A tokenizer that remembers what it was asked to encode."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.asked: list[str] = []

    def encode(self, text: str, **options: Any) -> Any:
        self.asked.append(text)
        return self.tokenizer.encode(text, **options)


def counting() -> tuple[TableTokenizer, list[str]]:
    tokenizer = TableTokenizer(SHIPPED, MAX_TOKENS)
    tokenizer._tokenizer = counted = Counted(tokenizer._tokenizer)
    return tokenizer, counted.asked


@PROPERTY
@given(TEXTS, TEXTS, st.sampled_from(LIMITS))
def test_a_pair_is_read_as_the_library_reads_it(title: str, content: str, max_tokens: int) -> None:
    expected = library(max_tokens=max_tokens)(title, content)
    assert table(max_tokens=max_tokens)(title, content) == expected


def test_a_pair_is_cut_as_the_library_cuts_it() -> None:
    for max_tokens in range(14):
        ours, theirs = table(max_tokens=max_tokens), library(max_tokens=max_tokens)
        for first, second in product(range(13), repeat=2):
            assert ours("一" * first, "二" * second) == theirs("一" * first, "二" * second)


@pytest.mark.parametrize("first", [0, 1, 125, 126, 127, 128, 252, 253, 254, 600])
def test_a_long_pair_is_cut_as_the_library_cuts_it(first: int) -> None:
    for second in (0, 1, 125, 126, 127, 128, 252, 253, 254, 600):
        assert table()("一" * first, "二" * second) == library()("一" * first, "二" * second)


def test_every_character_of_the_first_plane_is_read_as_the_library_reads_it() -> None:
    for character in planes(0, 1):
        content = f"中{character}中x{character}y"
        assert table()(character, content) == library()(character, content), hex(ord(character))


def test_every_other_character_is_read_as_the_library_reads_it() -> None:
    # The table holds none of these; one by one they would take a minute.
    for plane in range(1, 17):
        characters = planes(plane, plane + 1)
        for group in (characters[start : start + 64] for start in range(0, len(characters), 64)):
            content = f"中{group}中x{'x'.join(group)}y"
            assert table()(group, content) == library()(group, content), hex(ord(group[0]))


def planes(first: int, end: int) -> str:
    """All characters of these planes of Unicode; surrogates are none."""
    return "".join(chr(code) for code in range(first << 16, end << 16) if not 0xD800 <= code < 0xE000)


@pytest.mark.parametrize("text", ["\ud800", "路\udc00灯", "x\ud83d\ude24"])
def test_a_lone_surrogate_is_refused_as_the_library_refuses_it(text: str) -> None:
    for read in (table(), library()):
        with pytest.raises(TypeError):
            read("路灯", text)


def test_an_order_rarely_needs_the_library() -> None:
    rows = [
        json.loads(line)
        for path in sorted((ROOT / "data" / "corpus" / "labels").glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    tokenizer, asked = counting()
    needed = 0
    for number, row in enumerate(rows):
        reading = read_text(row["title"], row["content"]).reading
        before = len(asked)
        encoded = tokenizer.encode(reading.title, reading.content)
        needed += len(asked) > before
        if number % 5 == 0:
            expected = library()(reading.title, reading.content)
            assert (encoded.ids, encoded.segments, encoded.truncated) == expected
    assert needed <= 0.01 * len(rows)


def test_only_what_is_new_is_asked_and_only_what_is_short_is_remembered() -> None:
    tokenizer, asked = counting()
    for _ in range(2):
        tokenizer.encode("路灯坏了3天", f"请[电话]联系,App打不开 {'z' * 65}。")
    assert asked == ["[电话]", "App", " ", "z" * 65, "z" * 65]


def test_threads_may_share_one() -> None:
    tokenizer = TableTokenizer(SHIPPED, MAX_TOKENS)
    titles = [f"App {chr(0x61 + i % 26) * (i % 9)}[电话]{chr(0x1F300 + i % 500)}" for i in range(2000)]
    with ThreadPoolExecutor(4) as pool:
        encoded = list(pool.map(lambda title: tokenizer.encode(title, title[::-1]), titles))
    for title, each in zip(titles, encoded, strict=True):
        assert (each.ids, each.segments, each.truncated) == library()(title, title[::-1])


def changed(**parts: Any) -> str:
    """The shipped tokenizer with other parts; those of a mapping are changed one by one."""
    shape = json.loads(SHIPPED)
    for name, part in parts.items():
        shape[name] = {**shape[name], **part} if isinstance(shape[name], dict) and part else part
    return json.dumps(shape, ensure_ascii=False)


def added(**change: Any) -> str:
    """The shipped tokenizer, but the last of its added tokens is another."""
    tokens = json.loads(SHIPPED)["added_tokens"]
    return changed(added_tokens=[*tokens[:-1], {**tokens[-1], **change}])


def bert(**options: Any) -> str:
    """A tokenizer such as other people's models come with, of the same vocabulary."""
    vocabulary = json.loads(SHIPPED)["model"]["vocab"]
    return str(BertWordPieceTokenizer(vocabulary, **options).to_str())


CUT, DIGITS_TOGETHER = {"type": "BertPreTokenizer"}, {"type": "Digits", "individual_digits": False}
ROBERTA = {"trim_offsets": True, "add_prefix_space": True}
FOREIGN = {
    "bert": bert,
    "cased_bert": partial(bert, lowercase=False, strip_accents=False, clean_text=False),
    "chinese_together": partial(changed, normalizer={"handle_chinese_chars": False}),
    "cleaned": partial(changed, normalizer={"clean_text": True}),
    "accents_stripped": partial(changed, normalizer={"strip_accents": True}),
    "digits_replaced": partial(
        changed, normalizer={"type": "Replace", "pattern": {"String": "12"}, "content": "2"}
    ),
    "not_normalised": partial(changed, normalizer=None),
    "digits_together": partial(changed, pre_tokenizer={"pretokenizers": [CUT, DIGITS_TOGETHER]}),
    "not_cut_into_words": partial(changed, pre_tokenizer=None),
    "padded": partial(
        changed,
        padding={
            "strategy": {"Fixed": 20},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
    ),
    "unmarked": partial(changed, post_processor=None),
    "marked_otherwise": partial(changed, post_processor={"type": "RobertaProcessing", **ROBERTA}),
    "marks_swapped": partial(changed, post_processor={"sep": ["[CLS]", 2], "cls": ["[SEP]", 3]}),
    "words_of_three_letters": partial(changed, model={"max_input_chars_per_word": 3}),
    "already_truncated": partial(
        changed,
        truncation={"direction": "Left", "max_length": 5, "strategy": "OnlyFirst", "stride": 1},
        added_tokens=[],
    ),
    "added_word": partial(added, content="gdp", id=109),
    "added_whole_word": partial(added, content="[姓", id=7916, single_word=True),
    "added_normalised": partial(added, content="[İ]", id=7916, normalized=True),
    "added_with_a_letter": partial(added, content="[a", id=7916),
    "added_bracket": partial(added, content="[", id=44),
    "added_within_another": partial(added, content="[地", id=7916),
    "nothing_known": partial(changed, model={"vocab": {"[UNK]": 0, "[CLS]": 2, "[SEP]": 3}}, added_tokens=[]),
    "nothing_added": partial(changed, added_tokens=[]),
}
NASTY = "路灯12我叫[姓名],[姓名在[地址]住。xGDPy gdp App2 é İ [i\u0307] 22号！"


@pytest.mark.parametrize("make", FOREIGN.values(), ids=FOREIGN)
def test_another_tokenizer_is_read_as_the_library_reads_it(make: Callable[[], str]) -> None:
    tokenizer_json = make()

    @settings(PROPERTY, max_examples=60)
    @given(TEXTS, TEXTS, st.sampled_from((4, 7, 64)))
    def alike(title: str, content: str, max_tokens: int) -> None:
        ours, theirs = table(tokenizer_json, max_tokens), library(tokenizer_json, max_tokens)
        assert ours(title, content) == theirs(title, content)

    assert table(tokenizer_json)(NASTY, NASTY[::-1]) == library(tokenizer_json)(NASTY, NASTY[::-1])
    alike()


def test_a_tokenizer_that_knows_no_unknown_piece_fails_where_the_library_fails() -> None:
    tokenizer_json = changed(model={"unk_token": "[none]"})
    assert table(tokenizer_json)("路灯", "坏了") == library(tokenizer_json)("路灯", "坏了")
    for read in (table(tokenizer_json), library(tokenizer_json)):
        with pytest.raises(Exception, match="Missing"):
            read("路灯", "ひら")
