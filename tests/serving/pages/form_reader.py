"""Reads what a page offers to a browser: its forms with their fields, and its words without the markup."""

from __future__ import annotations

from html.parser import HTMLParser


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: dict[str, dict[str, str]] = {}
        self.words: list[str] = []
        self._fields: dict[str, str] = {}
        self._select = self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        name, value = given.get("name", ""), given.get("value", "")
        if tag == "form":
            self._fields = {}
            self.forms[given["action"]] = self._fields
        elif tag == "input" and (given.get("type") != "radio" or "checked" in given):
            self._fields[name] = value
        elif tag == "select":
            self._select = name
        elif tag == "option" and ("selected" in given or self._select not in self._fields):
            self._fields[self._select] = value
        elif tag == "textarea":
            self._textarea = name
            self._fields[name] = ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea":
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self._fields[self._textarea] += data
        self.words.append(data)


def forms_of(page: str) -> dict[str, dict[str, str]]:
    """Each form by its action: what a browser would send if nobody touched it."""
    return _read(page).forms


def words_of(page: str) -> str:
    """The text a person reads, without white space."""
    return "".join("".join(_read(page).words).split())


def _read(page: str) -> _Reader:
    reader = _Reader()
    reader.feed(page)
    return reader
