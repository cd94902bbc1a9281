"""A bundle in memory whose temperatures, and the n-grams' weights, fit the calibration part.

`training/run.py` calls it.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data.corpus.labels import LabelledOrder
from data.corpus.snapshot import Snapshot
from data.masking import read_text
from data.records import Thresholds
from data.taxonomy import Taxonomy
from models.bundle import Bundle
from models.char_ngrams import CharNgrams
from models.encoder_classifier import EncoderClassifier
from training.calibrate import fit_flag_temperature, fit_temperature
from training.evaluate import score
from training.recipe import Recipe
from training.second_opinion import fit_flags_opinion, fit_second_opinion


def unfitted(recipe: Recipe, tokenizer: Tokenizer, taxonomy: Taxonomy) -> Bundle:
    """A bundle with temperatures of one and no graph: what graphs are compared in."""
    return Bundle(
        name=recipe.name,
        digest="",
        graph=b"",
        tokenizer=tokenizer.to_str(),
        label_groups=taxonomy.groups,
        base_rate=0.5,
        temperatures=dict.fromkeys((*taxonomy.groups, "flags"), 1.0),
        max_tokens=recipe.finetune.length,
        thresholds=Thresholds(None, None, dict.fromkeys(taxonomy.flag_codes, 1.0)),
        certificate={},
        certificate_digest="",
        versions={},
        card="",
    )


def fitted(
    plain: Bundle, ngrams: CharNgrams | None, snapshot: Snapshot, taxonomy: Taxonomy
) -> tuple[Bundle, Bundle]:
    """(what is shipped, the encoder alone), both calibrated; one and the same without n-grams.

    Args:
        plain: a bundle with a graph and temperatures of one.
    """
    orders = snapshot.calibration
    raw = score(EncoderClassifier(plain), orders, taxonomy)
    temperatures = {
        group: fit_temperature(raw.logits[group], targets(orders, group, taxonomy))
        for group in taxonomy.groups
    }
    temperatures["flags"] = fit_flag_temperature(raw.logits["flags"], raw.raised)
    alone = replace(plain, temperatures=temperatures)
    if ngrams is None:
        return alone, alone
    second = _by_group(ngrams, orders, taxonomy)
    opinions = {
        group: fit_second_opinion(raw.logits[group], second[group], targets(orders, group, taxonomy))
        for group in taxonomy.groups
    }
    opinions["flags"] = fit_flags_opinion(raw.logits["flags"], second["flags"], raw.raised)
    both = replace(
        plain,
        ngrams=ngrams.content(),
        ngram_weights={group: opinion.weight for group, opinion in opinions.items()},
        temperatures={group: opinion.temperature for group, opinion in opinions.items()},
    )
    return both, alone


def targets(orders: tuple[LabelledOrder, ...], group: str, taxonomy: Taxonomy) -> NDArray[np.int64]:
    """(orders,): the place of each one's true code."""
    codes = taxonomy.groups[group]
    return np.array([codes.index(getattr(order, group)) for order in orders])


def _by_group(
    ngrams: CharNgrams, orders: tuple[LabelledOrder, ...], taxonomy: Taxonomy
) -> dict[str, NDArray[np.float64]]:
    """Per label group, and under "flags", (orders, codes) scores."""
    scores = np.array([ngrams.scores(read_text(order.title, order.content).reading) for order in orders])
    sizes = {group: len(codes) for group, codes in taxonomy.groups.items()} | {
        "flags": len(taxonomy.flag_codes)
    }
    parts = np.split(scores.astype(np.float64), list(accumulate(sizes.values()))[:-1], axis=1)
    return dict(zip(sizes, parts, strict=True))
