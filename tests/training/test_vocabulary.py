from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from data.corpus.labels import read_folder
from data.errors import BadInput
from data.masking import PLACEHOLDERS, read_text
from data.taxonomy import Taxonomy
from training.vocabulary import UNK, build_tokenizer, piece_id, save_tokenizer, unknown_rate

TEXTS = ["幸福路的路灯坏了,请派人维修", "拨打12345热线投诉iphone手机", "电话[电话]打不通,微信wifi也不行"] * 3


def test_characters_digits_and_placeholders_stand_alone() -> None:
    tokenizer = build_tokenizer(TEXTS, 8192, 2)
    encoding = tokenizer.encode("投诉iPhone", "[电话]路灯12345")
    assert encoding.tokens == [
        "[CLS]", "投", "诉", "iphone", "[SEP]", "[电话]", "路", "灯", "1", "2", "3", "4", "5", "[SEP]",
    ]  # fmt: skip
    assert encoding.type_ids == [0] * 5 + [1] * 9


def test_offsets_point_into_the_text() -> None:
    text = "投诉iPhone坏了"
    encoding = build_tokenizer(TEXTS, 8192, 2).encode(text, add_special_tokens=False)
    assert [text[start:end] for start, end in encoding.offsets] == ["投", "诉", "iPhone", "坏", "了"]


def test_unknown_latin_falls_apart_into_letters() -> None:
    assert build_tokenizer(TEXTS, 8192, 2).encode("zq", add_special_tokens=False).tokens == ["z", "##q"]


def test_every_placeholder_is_one_piece() -> None:
    tokenizer = build_tokenizer(TEXTS, 8192, 2)
    for placeholder in PLACEHOLDERS:
        assert tokenizer.encode(f"他{placeholder}她", add_special_tokens=False).tokens[1:-1] == [placeholder]


def test_the_same_texts_in_any_order_give_the_same_vocabulary() -> None:
    assert build_tokenizer(TEXTS, 500, 1).to_str() == build_tokenizer(TEXTS[::-1], 500, 1).to_str()


def test_size_is_kept_and_the_rarest_go_first() -> None:
    tokenizer = build_tokenizer(["的的的的了了了是是", "a"], 120, 1)
    assert tokenizer.get_vocab_size() <= 120
    assert tokenizer.token_to_id("的") is not None


def test_a_size_without_room_for_characters_is_refused() -> None:
    with pytest.raises(BadInput, match="vocabulary_too_small"):
        build_tokenizer(TEXTS, 50, 1)


def test_transformers_loads_what_was_saved(tmp_path: Path) -> None:
    tokenizer = build_tokenizer(TEXTS, 8192, 2)
    save_tokenizer(tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    text = "拨打12345投诉路灯"
    assert loaded(text)["input_ids"] == tokenizer.encode(text).ids
    assert loaded.mask_token_id == piece_id(tokenizer, "[MASK]")


def test_orders_of_an_unseen_region_hold_hardly_an_unknown_piece(taxonomy: Taxonomy) -> None:
    orders = read_folder(taxonomy)
    seen = [read_text(order.title, order.content).content.text for order in orders if order.region == "w1"]
    unseen = [read_text(order.title, order.content).content.text for order in orders if order.region == "w4"]
    assert unknown_rate(build_tokenizer(seen, 8192, 2), unseen) < 0.002
    poor = build_tokenizer(["的"], 8192, 1)
    assert unknown_rate(poor, ["🚌" * 10]) == 1.0
    assert piece_id(poor, UNK) == poor.token_to_id(UNK)
