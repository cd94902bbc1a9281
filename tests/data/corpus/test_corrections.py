from __future__ import annotations

from pathlib import Path

import pytest

from data.corpus.corrections import CORRECTIONS, Correction, read_corrections
from data.corpus.labels import read_folder
from data.taxonomy import load_taxonomy


def test_every_correction_is_what_the_label_files_say() -> None:
    orders = {order.id: order for order in read_folder(load_taxonomy())}
    for correction in read_corrections():
        now = getattr(orders[correction.id], correction.field)
        assert correction.now == (now if isinstance(now, str) else ",".join(now))
        assert correction.reason
        assert correction.was != correction.now


def test_a_line_is_a_correction(tmp_path: Path) -> None:
    header = CORRECTIONS.read_text(encoding="utf-8").splitlines()[0]
    path = tmp_path / "corrections.tsv"
    path.write_text(f"{header}\nw1-0001\tkind\thelp\tcomplaint\t要求处理的是投诉\n", encoding="utf-8")
    assert read_corrections(path) == [Correction("w1-0001", "kind", "help", "complaint", "要求处理的是投诉")]
    path.write_text("id\tkind\nw1-0001\thelp\n", encoding="utf-8")
    with pytest.raises(KeyError):
        read_corrections(path)
