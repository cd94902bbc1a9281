"""Hides personal data in canonical text, so that nothing behind it sees any; triage and training call it.

What stays is what an order is decided and routed by: titles, places down to the street or village, amounts,
dates, order numbers and public short numbers (12345, 110, 95598).
"""

from __future__ import annotations

from dataclasses import dataclass

from data.canonical import MappedText, canonicalise
from data.home_addresses import find_addresses
from data.lettered_codes import find_documents, find_emails, find_plates
from data.personal_names import find_names
from data.personal_numbers import find_numbers
from data.records import Reading

# Grows with every change of what is hidden, because a model reads only the text it was trained on.
MASKING_VERSION = "masking-1"

PLACEHOLDERS = ("[电话]", "[证件]", "[车牌]", "[银行卡]", "[邮箱]", "[姓名]", "[地址]")

# In this order: an address of mail may hold a telephone number, a plate touch one, an address end in one, and
# a name is told by what stands beside it. No later step uncovers anything for an earlier one.
_FINDERS = (find_emails, find_documents, find_numbers, find_plates, find_addresses, find_names)


@dataclass(frozen=True, slots=True)
class MaskedText:
    """An order's two fields, canonical and masked, each with the way back to what was sent."""

    title: MappedText
    content: MappedText

    @property
    def reading(self) -> Reading:
        return Reading(self.title.text, self.content.text)


def mask(text: MappedText) -> MappedText:
    """Canonical text with placeholders; each points to all it hides. Masking twice changes nothing."""
    for find in _FINDERS:
        text = text.replaced(find(text.text))
    return text


def read_text(title: str, content: str) -> MaskedText:
    """Any two strings as the classifier, the rules and the pages read them."""
    return MaskedText(mask(canonicalise(title)), mask(canonicalise(content)))
