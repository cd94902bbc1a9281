from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.records import Reading
from models.char_ngrams import LONGEST, CharNgrams, read_char_ngrams, runs

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)


def key(run: str) -> int:
    number = 0
    for character in run:
        number = number << 16 | min(ord(character), 0xFFFF)
    return number


def model(weights: dict[str, tuple[int, int]]) -> CharNgrams:
    """Two outputs; every run is equally rare."""
    known = dict(sorted((key(run), both) for run, both in weights.items()))
    return CharNgrams(
        np.array(list(known), dtype=np.uint64),
        np.ones(len(known), dtype=np.float32),
        np.array(list(known.values()), dtype=np.int8),
        np.array([0.5, 0.25], dtype=np.float32),
        np.array([1.0, -1.0], dtype=np.float32),
    )


@given(TEXTS, TEXTS)
def test_runs_are_all_of_one_to_four_characters(title: str, content: str) -> None:
    text = f"{title}\n{content}"
    expected = [
        key(text[start : start + length])
        for length in range(1, LONGEST + 1)
        for start in range(len(text) - length + 1)
    ]
    assert runs(Reading(title, content)).tolist() == expected


def test_scores_are_the_scaled_mean_of_known_runs() -> None:
    judge = model({"法": (4, 0), "院": (0, 8), "法院": (2, 2)})
    unknown = judge.scores(Reading("", "路灯坏了"))
    assert unknown.tolist() == [1.0, -1.0]
    # Three known runs of length one together: each counts 1/√3.
    assert judge.scores(Reading("", "法院")) == pytest.approx([1 + 3 / 3**0.5, -1 + 2.5 / 3**0.5], rel=1e-6)
    assert judge.scores(Reading("法院", "")) == pytest.approx(judge.scores(Reading("", "法院")))


def test_a_run_seen_again_counts_less_than_twice() -> None:
    judge = model({"法": (4, 0), "院": (0, 8)})
    places, values = judge.features(Reading("", "法，法。法院"))
    assert values[places == judge.keys.searchsorted(key("法"))] == pytest.approx(
        (1 + np.log(3)) / np.hypot(1 + np.log(3), 1)
    )


def test_bytes_keep_everything_and_are_equal_for_equal_models() -> None:
    judge = model({"法": (4, 0), "院": (-128, 8), "法院": (2, 2)})
    again = read_char_ngrams(judge.content(), 2)
    assert (
        again.content() == judge.content() == model({"院": (-128, 8), "法院": (2, 2), "法": (4, 0)}).content()
    )
    reading = Reading("法院", "判决生效，法院不理")
    assert again.scores(reading).tolist() == judge.scores(reading).tolist()


@pytest.mark.parametrize(
    "content",
    [b"", b"no archive", model({"法": (4, 0)}).content()[:-40]],
)
def test_other_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="no model"):
        read_char_ngrams(content, 2)


def test_a_model_that_does_not_fit_is_refused() -> None:
    judge = model({"法": (4, 0), "院": (0, 8)})
    with pytest.raises(ValueError, match="shapes"):
        read_char_ngrams(judge.content(), 3)
    with pytest.raises(ValueError, match="sorted"):
        read_char_ngrams(changed(judge, "keys", judge.keys[::-1].copy()), 2)
    with pytest.raises(ValueError, match="numbers"):
        read_char_ngrams(changed(judge, "weights", judge.weights.astype(np.int16)), 2)
    with pytest.raises(ValueError, match="no model"):
        read_char_ngrams(changed(judge, "scales", None), 2)


def test_nothing_is_unpickled() -> None:
    judge = model({"法": (4, 0)})
    with pytest.raises(ValueError, match="no model"):
        read_char_ngrams(changed(judge, "keys", np.array([object()])), 2)


def changed(judge: CharNgrams, name: str, array: np.ndarray | None) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(judge.content())) as old, zipfile.ZipFile(out, "w") as new:
        for file in old.namelist():
            if file != f"{name}.npy":
                new.writestr(file, old.read(file))
            elif array is not None:
                content = io.BytesIO()
                np.save(content, array, allow_pickle=True)
                new.writestr(file, content.getvalue())
    return out.getvalue()
