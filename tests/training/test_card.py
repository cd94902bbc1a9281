from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from data.corpus.snapshot import Snapshot
from data.taxonomy import load_taxonomy
from training.behaviours import Capability
from training.card import CardFacts, write_card
from training.certify import Population, certificate, certify_decline, certify_dispatch
from training.fitted_bundle import unfitted
from training.flags import FlagFigures
from training.graphs import ServedGraph
from training.metrics import Metrics
from training.precedents import PrecedentFigures
from training.promises import Crossed
from training.read_messages import ReadMessages
from training.recipe import RehearsalPlan, read_recipe
from training.slices import Slice
from training.style_leak import StyleLeak
from training.vocabulary import build_tokenizer

OURS = Metrics(100, 0.912, 0.83, 0.4, 0.77, 0.6, 0.66, 0.5, 0.55, 0.9)
THEIRS = replace(OURS, verdict_auc=0.845, pairs_ordered=None)
PRETRAINED = {"parameters": 5_000_000, "tokens_seen": 7_000_000}


def facts() -> CardFacts:
    recipe = read_recipe(Path("training/recipes/default.toml"))
    return CardFacts(
        recipe=recipe,
        snapshot=Snapshot((), (), (), "sha256:snap"),
        graph=ServedGraph("int8", bytes(6_000_000), fp32_gap=2e-6, int8_agreement=0.995),
        bundle=replace(
            unfitted(recipe, build_tokenizer(["路灯不亮"], 400, 1), load_taxonomy()),
            temperatures={"verdict": 1.25},
            ngrams=b"some",
            ngram_weights={"verdict": 0.75},
        ),
        certificate=certificate(
            certify_decline([Population("look-alikes", np.zeros(400), 0.02, "w3")], 0.975),
            certify_dispatch([Population("missed", np.zeros(5), 0.05, "w3")], 0.975),
        ),
        broken=(0.012, 0.0),
        pretraining=PRETRAINED,
        reopened={},
        test=OURS,
        test_calibration_error=0.031,
        baseline=THEIRS,
        encoder_alone=replace(OURS, verdict_auc=0.9),
        flags={
            "emergency": FlagFigures(54, 0.98, 0.004, 0.99, 0.005),
            "self_harm": FlagFigures(0, None, 0.0, None, 0.001),
        },
        read=ReadMessages(191, 0.81, 0.62, 0.9, {"emergency": FlagFigures(2, 0.5, 0.01, 1.0, 0.02)}),
        precedents=PrecedentFigures(0.61, 0.72, 0.58, 0.7),
        real_orders=5000,
        recall_within=(0.7, None),
        slices=[Slice("region", "w4", 618, 274, 0.9, 0.4, None, 0.95)],
        crossed=Crossed(look_alikes=0.01, real=0.0008, found=0.45, missed=0.03, waved_through=0.4),
        leak=StyleLeak(0.61, ("w4", 0.8)),
        behaviours=[Capability("invariance", "politeness", 8, 2)],
    )


def test_every_figure_stands_beside_the_baseline() -> None:
    card = write_card(facts())
    assert "| emergency | 54 | 0.980 | 0.4% | 0.990 | 0.5% |" in card
    assert "| self_harm | 0 | – | 0.0% | – | 0.1% |" in card
    assert "| invariance | politeness | 8 | 2 | 25.0% |" in card
    assert "| region: w4 | 618 | 274 | 0.900 | 0.400 | – | 0.950 |" in card
    assert "**fails**" in card
    assert "- the region that stands out most, w4: 0.800" in card
    assert "| verdict AUC | 0.912 | 0.900 | 0.845 |" in card
    assert "| contrast pairs ordered rightly | 0.900 | 0.900 | – |" in card
    assert "| expected calibration error of the verdict | 0.031 | | |" in card
    assert "0.1 % of 5000 real orders | 0.700 | | – |" in card
    assert "On 191 real messages that one reader labelled" in card
    assert "kind accuracy 0.810, macro-F1 0.620;" in card
    assert "| the subject | 0.610 | 0.580 |" in card
    assert "| the ground, of unreasonable orders | 0.720 | 0.700 |" in card
    assert "| emergency | 2 | 0.500 | 1.0% | 1.000 | 2.0% |" in card
    assert card.count("\n| ") == 24


def test_a_second_opinion_is_told_where_there_is_one() -> None:
    given = facts()
    with_it = write_card(given)
    assert "Beside it a linear model scores runs of one to four characters" in with_it
    assert (
        "- temperature of verdict: 1.250, the n-grams' scores counting 0.750 beside the encoder's" in with_it
    )
    alone = write_card(replace(given, bundle=replace(given.bundle, ngrams=b"", ngram_weights={})))
    assert "Beside it" not in alone
    assert "- temperature of verdict: 1.250\n" in alone


def test_a_missing_certificate_is_said() -> None:
    card = write_card(facts())
    assert "- **decline at P(unreasonable) ≥ 0.000045**, at confidence 97.5%." in card
    assert "Of 1,000 redrawn calibrations 1.2% break it." in card
    assert "  - at most 2.0% of look-alikes: 0 of 400, bound 0.918% (w3)" in card
    assert "- **dispatch: none.** No threshold keeps every promise:" in card
    assert "45.0% of the unreasonable and 1.0% of the reasonable ones of the test, 0.08% of" in card
    assert "dispatch 40.0% of the reasonable and 3.0% of the unreasonable ones." in card


def test_an_encoder_from_elsewhere_is_named_without_its_path() -> None:
    given = facts()
    named = replace(given.recipe, encoder="/somewhere/private/bert")
    card = write_card(replace(given, recipe=named, pretraining={}))
    assert "`bert`" in card
    assert "/somewhere" not in card


def test_a_bundle_that_went_on_from_another_says_from_which_and_how() -> None:
    given = facts()
    assert "Training went on" not in write_card(given)
    plan = replace(given.recipe.finetune, epochs=3, frozen=4, rehearsal=RehearsalPlan(("w1", "w2"), 0.5))
    again = replace(given.recipe, encoder="var/reopened", finetune=plan)
    card = write_card(replace(given, recipe=again, reopened={"bundle": "sha256:old", "encoder": "bert-x"}))
    assert "Starts from the encoder `bert-x`" in card
    assert "went on from the weights of bundle `sha256:old`,\nas its graph has them, for 3 epochs." in card
    assert "The embeddings and the lowest 4 layers stayed as they were." in card
    assert "An epoch saw 50% of the 2 files that bundle knew." in card
