"""Finds e-mail addresses, plates and document numbers with letters in canonical text; masking.py calls it."""

from __future__ import annotations

from unicodedata import combining

import re2

from data.personal_numbers import Found

_EMAIL = re2.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
_PLATE = re2.compile(rf"[{_PROVINCES}] ?[A-Za-z][ ·•・.-]?([A-Za-z0-9]{{4,}})([警学挂港澳领使]?)")
# GA 36-2018: five signs, I and O never; new-energy plates have six, with one of ten letters first or last.
_CIVIL = re2.compile(r"[A-HJ-NP-Z0-9]{5}")
_NEW_ENERGY = re2.compile(r"[A-HJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[A-HJK]")
_SPECIAL = re2.compile(r"[A-HJ-NP-Z0-9]{4}")

_DOCUMENT_CODE = re2.compile(
    r"(?:护照|通行证|军官证|居留证|居住证|签证)(?:号码|号)?[为是: ]{0,2}([A-Za-z]{1,2}[0-9]{7,9})"
)


def find_emails(text: str) -> list[Found]:
    """E-mail addresses."""
    return [(*found.span(), "[邮箱]") for found in _EMAIL.finditer(text)]


def find_plates(text: str) -> list[Found]:
    """Mainland plates: ordinary, new-energy, police, learner, trailer, Hong Kong and Macao."""
    plates: list[Found] = []
    for found in _PLATE.finditer(text):
        signs, suffix = found[1].upper(), found[2]
        shape = _SPECIAL if suffix and len(signs) == 4 else _NEW_ENERGY if len(signs) == 6 else _CIVIL
        end = found.end() if shape is _SPECIAL else found.end(1)
        whole = not combining(text[end : end + 1] or " ")
        if whole and shape.fullmatch(signs) and any(sign.isdigit() for sign in signs):
            plates.append((found.start(), end, "[车牌]"))
    return plates


def find_documents(text: str) -> list[Found]:
    """Passports, travel permits and other documents with a letter in their number, where named."""
    return [(*found.span(1), "[证件]") for found in _DOCUMENT_CODE.finditer(text)]
