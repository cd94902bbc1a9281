"""Finds telephone, resident, document and bank card numbers in canonical text; masking.py calls it.

A number is judged by its own digits, the gaps within it and the words beside it, never by other numbers: so
masking one cannot change what another is.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import re2

Found = tuple[int, int, str]

_DIGITS = re2.compile(r"[0-9]+(?:\pM+[0-9]+)*")  # combining marks between digits underline them
_GAP = frozenset(" -–—−.·_~*,/)")
_LONGEST_GAP = 3
_MOST_DIGITS = 21
_MOST_GROUPS = 6
_MOBILE_GROUPS = {
    (3, 4, 4),
    (3, 8),
    (7, 4),
    (4, 4, 3),
    (4, 3, 4),
    (5, 6),
    (6, 5),
    (4, 7),
    (3, 3, 5),
    (11, 11),
    (11,),
}
_LOCAL_GROUPS = {(3, 4), (4, 4), (4, 3)}

_MOBILE = re2.compile(r"(?:\+?0{0,2}86|0)?1[3-9][0-9]{9}|(?:1[3-9][0-9]{9}){2,3}")
_LANDLINE = re2.compile(r"(?:0{0,2}86)?(?:0(?:10|2[0-9])[2-8][0-9]{7}|0[3-9][0-9]{2}[2-8][0-9]{6,7})")
_SERVICE_LINE = re2.compile(r"[48]00[0-9]{7}")
_LOCAL_LINE = re2.compile(r"[2-8][0-9]{6,7}")
_AMOUNT = re2.compile(r"(?:\.[0-9]{1,2})?[万亿]?元")
_BIRTH = re2.compile(r"[0-9]{6}((?:19|20)[0-9]{2})([0-9]{2})([0-9]{2})[0-9]{3}[0-9X]")
_OLD_BIRTH = re2.compile(r"[0-9]{6}([0-9]{2})([0-9]{2})([0-9]{2})[0-9]{3}")
# GB/T 2260: the first two digits of a resident number name a province.
_REGIONS = frozenset(
    map(str, [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66)])
) | {"71", "81", "82", "83", "91"}

# Words that end right before a number, once fillers between are taken away.
_FILLERS = "是为:号码叫 (-及和"
_PHONE_CUES = ("电话", "座机", "固话", "传真", "手机", "联系方式", "拨打", "致电", "来电")
_CHAT_CUES = ("QQ", "qq", "微信", "扣扣")
_DOCUMENT_CUES = (
    "身份证",
    "证件",
    "驾驶证",
    "残疾证",
    "居住证",
    "社保",
    "社保卡",
    "医保",
    "医保卡",
    "户口本",
)
_CARD_CUES = ("卡", "账", "帐", "账户", "帐户", "银行", "一卡通", "存折")
# 号 is part of these words: a 单号 is no person's, a 名单 may hold telephone numbers.
_MARKS_BETWEEN = "是为: (-"
_ORDER_CUES = (
    *("单号", "单号码", "编号", "编码", "案号", "票号", "合同号", "受理号", "流水号", "文号", "户号", "表号"),
    *("批号", "档案号", "登记号", "许可证号", "产权证号", "动机号", "车架号", "设备号", "订单", "工单"),
    *("运单", "条码", "代码"),
)


def find_numbers(text: str) -> list[Found]:
    """Telephone, resident, document and bank card numbers, with or without gaps between their digits."""
    runs = [found.span() for found in _DIGITS.finditer(text)]
    numbers: list[Found] = []
    first, after_number = 0, True
    while first < len(runs):
        for last in reversed(list(_reach(text, runs, first, after_number))):
            number = _Number.of(text, runs[first : last + 1])
            if kind := number.kind():
                numbers.append((number.start, number.end, kind))
                break
        after_number = kind is not None
        first = last + 1 if kind else first + 1
    return numbers


def _reach(text: str, runs: list[tuple[int, int]], first: int, after_number: bool) -> Iterator[int]:
    """Indices of the runs at which one number that begins at run `first` might end.

    A number is whole, or in a few groups of two digits and more, or spelt in single digits; a spelt one
    begins where the spelling does, or every digit of a long row would be tried with the twenty behind it.
    """
    yield first
    spelt = runs[first][1] - runs[first][0] == 1
    if spelt and first and not after_number and _joined(text, runs[first - 1], runs[first]):
        return
    most = _MOST_DIGITS if spelt else _MOST_GROUPS
    for last in range(first + 1, min(first + most, len(runs))):
        single = runs[last][1] - runs[last][0] == 1
        if single != spelt or not _joined(text, runs[last - 1], runs[last]):
            return
        yield last


def _joined(text: str, run: tuple[int, int], following: tuple[int, int]) -> bool:
    gap = text[run[1] : following[0]]
    return len(gap) <= _LONGEST_GAP and all(c in _GAP or unicodedata.combining(c) for c in gap)


@dataclass(frozen=True, slots=True)
class _Number:
    """Digits that may make one number: how they are grouped, and the words before and behind."""

    digits: str
    sizes: tuple[int, ...]
    start: int
    end: int
    before: str
    after: str

    @classmethod
    def of(cls, text: str, runs: list[tuple[int, int]]) -> _Number:
        groups = ["".join(filter(str.isdigit, text[start:end])) for start, end in runs]
        digits = "".join(groups)
        start, end = runs[0][0], runs[-1][1]
        before = text[max(0, start - 16) : start]
        if before.endswith("+") or (before.endswith("(") and ")" in text[start:end]):
            start -= 1
        if len(digits) == 17 and text[end : end + 1] in {"X", "x"}:
            digits, end = digits + "X", end + 1
        return cls(digits, tuple(map(len, groups)), start, end, before, text[end : end + 5])

    def kind(self) -> str | None:
        """The placeholder for it, or None."""
        if len(self.digits) < 4:
            return None
        if self._is_document():
            return "[证件]"
        if self._behind(_ORDER_CUES) or not self.digits.isdigit():
            return None
        if self._is_card():
            return "[银行卡]"
        telephone = self._is_telephone() or self._is_named_telephone()
        return "[电话]" if telephone and not _AMOUNT.match(self.after) else None

    def _whole(self) -> bool:
        return len(self.sizes) == 1 or set(self.sizes) == {1}

    def _follows(self, cues: tuple[str, ...]) -> bool:
        return self.before.rstrip(_FILLERS).endswith(cues)

    def _behind(self, cues: tuple[str, ...]) -> bool:
        return self.before.rstrip(_MARKS_BETWEEN).endswith(cues)

    def _is_document(self) -> bool:
        if len(self.digits) not in range(15, 21):
            return False
        old = len(self.digits) == 15 and len(self.sizes) == 1
        ordered = self._behind(_ORDER_CUES)
        return (
            self._follows(_DOCUMENT_CUES)
            or (len(self.digits) == 18 and _is_resident_number(self.digits))
            or (old and not ordered and _is_old_resident_number(self.digits))
        )

    def _is_card(self) -> bool:
        """12 to 21 digits that are said to be an account, or 16 to 19 that pass Luhn as a card's do."""
        if not self._whole() and any(size != 4 for size in self.sizes[:-1]):
            return False
        named = len(self.digits) in range(12, 22) and self._follows(_CARD_CUES)
        plausible = len(self.digits) in range(16, 20) and self.digits[0] in "34569"
        return named or (plausible and _passes_luhn(self.digits))

    def _is_telephone(self) -> bool:
        digits, sizes, whole = self.digits, self.sizes, self._whole()
        if sizes[0] in {2, 4} and digits.startswith(("86", "0086")):
            sizes = sizes[1:] or sizes
        extension = 3 <= len(sizes) <= 4 and sizes[-1] <= 5
        return bool(
            ((whole or sizes in _MOBILE_GROUPS) and _MOBILE.fullmatch(digits))
            or ((whole or sizes[0] in {3, 4}) and len(sizes) <= 3 and _LANDLINE.fullmatch(digits))
            or ((whole or sizes[0] in {3, 4}) and _SERVICE_LINE.fullmatch(digits))
            or (extension and sizes[0] in {3, 4} and _LANDLINE.fullmatch(digits[: -sizes[-1]]))
        )

    def _is_named_telephone(self) -> bool:
        """A number that only the word before it makes a telephone's: a local line, a short or chat number."""
        if (self._whole() or self.sizes in _LOCAL_GROUPS) and self._follows(_PHONE_CUES):
            return _LOCAL_LINE.fullmatch(self.digits) is not None
        if len(self.sizes) > 1:
            return False
        chat = len(self.digits) in range(5, 12) and self._follows(_CHAT_CUES)
        return chat or (len(self.digits) <= 6 and self.digits[0] in "2345678" and self._behind(("短号",)))


def _is_resident_number(digits: str) -> bool:
    """GB 11643-1999: region, date of birth and check digit (ISO 7064, MOD 11-2)."""
    born = _BIRTH.fullmatch(digits)
    if digits[:2] not in _REGIONS or born is None or not _is_date(born[1], born[2], born[3]):
        return False
    total = sum(pow(2, 17 - place, 11) * int(digit) for place, digit in enumerate(digits[:17]))
    return "10X98765432"[total % 11] == digits[17]


def _is_old_resident_number(digits: str) -> bool:
    """The 15 digits in use before GB 11643-1999: two for the year, and no check digit."""
    born = _OLD_BIRTH.fullmatch(digits)
    return digits[:2] in _REGIONS and born is not None and _is_date("19" + born[1], born[2], born[3])


def _is_date(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def _passes_luhn(digits: str) -> bool:
    """ISO/IEC 7812-1, annex B."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0
