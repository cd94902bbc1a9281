"""Documents come out of a compressed corpus whole, in order, and never more at once than allowed."""

from __future__ import annotations

import lzma
import tracemalloc
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.corpus.corpora import LONGEST, documents, slices
from data.errors import BadInput, NotFound


def pack(path: Path, text: str) -> Path:
    path.write_bytes(lzma.compress(text.encode(), preset=0))
    return path


def test_a_blank_line_ends_a_document(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.txt.xz", "\n\n甲一\n 甲二 \n\u3000\n\n乙\n")
    assert list(documents(path)) == ["甲一\n甲二", "乙"]


def test_byte_order_marks_are_left_out_anywhere(tmp_path: Path) -> None:
    path = pack(tmp_path / "a.txt.xz", "\ufeff甲\n\ufeff\n乙\ufeff丙")
    assert list(documents(path)) == ["甲", "乙丙"]


def test_windows_line_ends_are_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt.xz"
    path.write_bytes(lzma.compress("甲\r\n\r\n乙\r\n".encode()))
    assert list(documents(path)) == ["甲", "乙"]


def test_an_empty_corpus_has_no_document(tmp_path: Path) -> None:
    assert list(documents(pack(tmp_path / "a.txt.xz", ""))) == []


def test_one_endless_document_is_cut_between_paragraphs(tmp_path: Path) -> None:
    paragraphs = [f"第{number}段" + "文" * 40 for number in range(2_000)]
    found = list(documents(pack(tmp_path / "a.txt.xz", "\n".join(paragraphs))))
    assert len(found) > 1
    assert max(map(len, found)) <= LONGEST
    assert [line for document in found for line in document.split("\n")] == paragraphs


def test_one_endless_paragraph_is_cut_anywhere(tmp_path: Path) -> None:
    found = list(documents(pack(tmp_path / "a.txt.xz", "字" * 95), longest=10))
    assert "".join(found) == "字" * 95
    assert max(map(len, found)) <= 10


@given(
    st.lists(
        st.lists(st.text("甲乙丙丁", min_size=1, max_size=9), min_size=1, max_size=4), min_size=1, max_size=5
    )
)
def test_any_documents_come_back(tmp_path_factory: pytest.TempPathFactory, written: list[list[str]]) -> None:
    path = tmp_path_factory.mktemp("corpus") / "a.txt.xz"
    pack(path, "\n\n".join("\n".join(paragraphs) for paragraphs in written))
    assert list(documents(path)) == ["\n".join(paragraphs) for paragraphs in written]


def test_memory_stays_flat(tmp_path: Path) -> None:
    """Forty megabytes without a single line end need less than eight."""
    path = pack(tmp_path / "a.txt.xz", "字" * 13_000_000)
    tracemalloc.start()
    try:
        size = sum(len(document) for document in documents(path))
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 13_000_000
    assert most < 8_000_000


def test_a_broken_corpus_is_refused(tmp_path: Path) -> None:
    whole = pack(tmp_path / "a.txt.xz", "".join(f"第{number}行\n" for number in range(9_999))).read_bytes()
    for content in (whole[:-40], b"plain text", lzma.compress(b"\xff\xfe\n")):
        path = tmp_path / "b.txt.xz"
        path.write_bytes(content)
        with pytest.raises(BadInput) as caught:
            list(documents(path))
        assert caught.value.code == "corpus_unreadable"
    with pytest.raises(NotFound):
        list(documents(tmp_path / "none.txt.xz"))


def test_a_slice_is_as_long_as_planned_and_spread_over_the_file(tmp_path: Path) -> None:
    pack(tmp_path / "a.txt.xz", "\n\n".join(f"{number:04d}" for number in range(1_000)))
    pack(tmp_path / "b.txt.xz", "乙乙\n\n丙丙")
    found = list(slices(tmp_path, {"a": 400, "b": 1_000}))
    numbers = [int(document) for document in found[:-2]]
    assert found[-2:] == ["乙乙", "丙丙"]
    assert len(numbers) == 100
    assert numbers[0] < 10
    assert numbers[-1] >= 980
    assert max(after - before for before, after in pairwise(numbers)) <= 11


def test_a_slice_of_nothing_is_nothing(tmp_path: Path) -> None:
    pack(tmp_path / "a.txt.xz", "甲\n\n乙")
    assert list(slices(tmp_path, {"a": 0})) == []
    with pytest.raises(NotFound):
        list(slices(tmp_path, {"none": 5}))
