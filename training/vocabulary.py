"""A character-level Chinese wordpiece tokenizer learned from text; `training/run.py` calls it."""

from __future__ import annotations

import json
import re
import string
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer, Digits, Sequence
from tokenizers.processors import BertProcessing

from data.errors import BadInput
from data.masking import PLACEHOLDERS

PAD, UNK, CLS, SEP, MASK = "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"
SPECIALS = (PAD, UNK, CLS, SEP, MASK)

_LATIN_WORD = re.compile(r"[a-z]{2,}")
_PRINTABLE = tuple(chr(code) for code in range(0x21, 0x7F) if not chr(code).isupper())
_LETTERS = tuple(string.ascii_lowercase)
_LATIN_SHARE = 0.04  # of the vocabulary: Latin words are rare in work orders, brands and units mostly


def build_tokenizer(texts: Iterable[str], size: int, min_count: int) -> Tokenizer:
    """Learn a tokenizer of at most `size` pieces from canonical, masked texts.

    Every Chinese character seen `min_count` times or more is one piece, rarest dropped first, and what
    room is left goes to the characters of GB/T 2312 that the texts do not hold; digits stand alone;
    Latin words that are not among the frequent ones fall apart into letters. The result is what BERT
    expects: `[CLS] a [SEP] b [SEP]` with segment ids.

    Raises:
        BadInput: `size` leaves no room for characters.
    """
    characters: Counter[str] = Counter()
    words: Counter[str] = Counter()
    for text in texts:
        lowered = text.lower()
        characters.update(lowered)
        words.update(_LATIN_WORD.findall(lowered))
    fixed = [*SPECIALS, *PLACEHOLDERS, *_PRINTABLE, *(f"##{letter}" for letter in _LETTERS)]
    latin = [word for word, count in _by_frequency(words) if count >= min_count][: int(size * _LATIN_SHARE)]
    room = size - len(fixed) - len(latin)
    if room < 1:
        raise BadInput("vocabulary_too_small", "词表容量太小，放不下汉字。")
    known = set(fixed)
    seen = [
        char
        for char, count in _by_frequency(characters)
        if count >= min_count and char not in known and not char.isspace() and not char.isascii()
    ]
    han = list(dict.fromkeys([*seen, *_standard_han()]))[:room]
    pieces = {piece: index for index, piece in enumerate([*fixed, *latin, *han])}
    tokenizer = Tokenizer(WordPiece(pieces, unk_token=UNK, max_input_chars_per_word=64))
    # Sets Chinese characters apart, which BertPreTokenizer alone would leave together as one word.
    tokenizer.normalizer = BertNormalizer(
        clean_text=False, handle_chinese_chars=True, strip_accents=False, lowercase=True
    )
    tokenizer.pre_tokenizer = Sequence([BertPreTokenizer(), Digits(individual_digits=True)])
    tokenizer.post_processor = BertProcessing((SEP, pieces[SEP]), (CLS, pieces[CLS]))
    tokenizer.decoder = WordPieceDecoder()
    tokenizer.add_special_tokens([*SPECIALS, *PLACEHOLDERS])
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write `tokenizer.json` and the settings by which `transformers.AutoTokenizer` loads it as is."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": PAD,
        "unk_token": UNK,
        "cls_token": CLS,
        "sep_token": SEP,
        "mask_token": MASK,
        "model_max_length": 512,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")


def piece_id(tokenizer: Tokenizer, piece: str) -> int:
    """The number of a piece that must be in the vocabulary.

    Raises:
        BadInput: it is not, so this is no tokenizer for BERT.
    """
    found: int | None = tokenizer.token_to_id(piece)
    if found is None:
        raise BadInput("tokenizer_incomplete", "分词器缺少 BERT 需要的特殊记号。")
    return found


def unknown_rate(tokenizer: Tokenizer, texts: Iterable[str]) -> float:
    """The share of tokens in `texts` that the vocabulary does not know."""
    unknown = total = 0
    unk = piece_id(tokenizer, UNK)
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        total += len(ids)
        unknown += ids.count(unk)
    return unknown / total if total else 0.0


def _standard_han() -> list[str]:
    """The 6,763 Chinese characters of GB/T 2312, commonest level first."""
    rows = range(0xB0, 0xF8)
    pairs = (bytes((row, cell)) for row in rows for cell in range(0xA1, 0xFF))
    return [char for pair in pairs if (char := pair.decode("gb2312", errors="ignore"))]


def _by_frequency(counts: Counter[str]) -> list[tuple[str, int]]:
    """Most frequent first, ties by code point: a vocabulary must not depend on reading order."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))
