from __future__ import annotations

import pytest

from data.corpus.labels import read_folder
from data.taxonomy import Taxonomy
from models.bundle import Bundle, read_bundle
from tests.models import tiny_bundle
from training.char_ngrams import fit_char_ngrams
from training.examples import Example, LabelSlices, authored
from training.fitted_bundle import fitted
from training.recipe import NgramPlan

PLAN = NgramPlan(runs=2000, inverse_regularisation=1.0)


@pytest.fixture(scope="module")
def examples(taxonomy: Taxonomy) -> list[Example]:
    orders = [order for order in read_folder(taxonomy) if order.region == "w9"]
    return authored(orders[:240], taxonomy)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy) -> Bundle:
    folder = tmp_path_factory.mktemp("tiny")
    publishers = tiny_bundle.publish(folder, tiny_bundle.files(taxonomy))
    return read_bundle(folder / "bundle", taxonomy, publishers)


def test_without_n_grams_the_encoder_is_calibrated_alone(
    plain: Bundle, examples: list[Example], taxonomy: Taxonomy
) -> None:
    shipped, alone = fitted(plain, None, examples, [], taxonomy)
    assert shipped == alone
    assert set(shipped.temperatures) == {*taxonomy.groups, "flags"}
    assert shipped.temperatures != plain.temperatures
    assert (shipped.ngrams, shipped.ngram_weights) == (b"", {})


def test_n_grams_that_know_the_labels_count(
    plain: Bundle, examples: list[Example], taxonomy: Taxonomy
) -> None:
    slices = LabelSlices(taxonomy.groups, taxonomy.flag_codes)
    shipped, alone = fitted(plain, fit_char_ngrams(PLAN, examples, slices), examples, [], taxonomy)
    assert shipped.ngrams
    assert min(shipped.ngram_weights.values()) > 0.1, "the tiny encoder knows next to nothing"
    assert alone.ngrams == b""


def test_messages_move_everything_but_the_verdict(
    plain: Bundle, examples: list[Example], taxonomy: Taxonomy
) -> None:
    ngrams = fit_char_ngrams(PLAN, examples, LabelSlices(taxonomy.groups, taxonomy.flag_codes))
    wrong = [
        Example(each.reading, {"verdict": 0, "kind": 1, "subject": 2}, flags=(3,), real=True)
        for each in examples[:120]
    ]
    before, after = (fitted(plain, ngrams, examples, messages, taxonomy)[0] for messages in ([], wrong))
    assert after.temperatures["verdict"] == before.temperatures["verdict"]
    assert after.ngram_weights["verdict"] == before.ngram_weights["verdict"]
    for group in ("kind", "subject", "flags"):
        assert after.ngram_weights[group] / after.temperatures[group] < (
            before.ngram_weights[group] / before.temperatures[group]
        ), "what was wrong about the messages is believed less"
