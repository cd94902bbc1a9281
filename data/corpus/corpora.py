"""Streams documents out of the compressed text corpora, never holding a whole file; pre-training calls it."""

from __future__ import annotations

import lzma
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.errors import BadInput, NotFound

LONGEST = 20_000
_SUFFIX = ".txt.xz"


def documents(path: Path, longest: int = LONGEST) -> Iterator[str]:
    """The documents of one `.txt.xz` corpus: one paragraph a line, a blank line between documents.

    Some corpora hold no blank line at all, so a document ends at the last paragraph that keeps it
    within `longest` characters, and a longer paragraph is cut: at most that much is in memory.
    Byte order marks, anywhere, and white space around a paragraph are left out.

    Raises:
        NotFound: there is no such file.
        BadInput: the file is not xz, is cut short or is not UTF-8.
    """
    try:
        with lzma.open(path, "rt", encoding="utf-8") as file:
            paragraphs: list[str] = []
            size = 0
            starts_line = True
            while piece := file.readline(longest):
                paragraph = piece.replace("\ufeff", "").strip()
                ends_document = (starts_line and not paragraph) or size + len(paragraph) > longest
                if ends_document and paragraphs:
                    yield "\n".join(paragraphs)
                    paragraphs, size = [], 0
                if paragraph:
                    paragraphs.append(paragraph)
                    size += len(paragraph) + 1
                starts_line = piece.endswith("\n")
            if paragraphs:
                yield "\n".join(paragraphs)
    except FileNotFoundError as error:
        raise NotFound("corpus_missing", "没有找到语料文件") from error
    except (lzma.LZMAError, EOFError, UnicodeDecodeError) as error:
        raise BadInput("corpus_unreadable", "语料文件已损坏，或不是 xz 压缩的 UTF-8 文本") from error


def slices(folder: Path, plan: Mapping[str, int], longest: int = LONGEST) -> Iterator[str]:
    """About `plan[name]` characters of each corpus `name`, as documents spread evenly over its file.

    A document longer than `longest` comes in several pieces, as `documents` says.

    The beginning of a file is one source or one year, so a slice takes every so-manieth document
    instead; each file is read twice, the first time to learn its length. A corpus smaller than its
    plan is taken whole, once.

    Raises:
        NotFound: the folder holds no such corpus.
        BadInput: a corpus is broken.
    """
    for name, wanted in plan.items():
        path = folder / f"{name}{_SUFFIX}"
        total = sum(len(document) for document in documents(path, longest))
        seen = taken = 0
        for document in documents(path, longest):
            if taken * total <= seen * wanted and taken < wanted:
                yield document
                taken += len(document)
            seen += len(document)
