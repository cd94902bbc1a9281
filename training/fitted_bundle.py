"""A bundle in memory whose temperatures, and the n-grams' weights, fit the calibration part.

`training/run.py` calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data.records import Thresholds
from data.taxonomy import Taxonomy
from models.bundle import Bundle
from models.char_ngrams import CharNgrams
from models.encoder_classifier import EncoderClassifier
from training.calibrate import fit_flag_temperature, fit_temperature
from training.evaluate import predictions
from training.examples import Example
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
    plain: Bundle,
    ngrams: CharNgrams | None,
    orders: Sequence[Example],
    messages: Sequence[Example],
    taxonomy: Taxonomy,
) -> tuple[Bundle, Bundle]:
    """(what is shipped, the encoder alone), both calibrated; one and the same without n-grams.

    The verdict is fitted to authored orders alone: messages know no unreasonable ones. Kind, subject and
    flags are fitted to both, since they are said of messages in the end.

    Args:
        plain: a bundle with a graph and temperatures of one.
        orders, messages: labelled ones that trained nothing, authored and real.
    """
    examples = [*orders, *messages]
    found = predictions(EncoderClassifier(plain), [each.reading for each in examples])
    rows = {group: len(orders) if group == "verdict" else len(examples) for group in taxonomy.groups}
    encoder = {
        group: np.array([each.logits[group] for each in found[: rows.get(group)]])
        for group in (*rows, "flags")
    }
    true = {
        group: np.array([each.labels[group] for each in examples[:count]]) for group, count in rows.items()
    }
    places = range(len(taxonomy.flags))
    raised = np.array([[place in (each.flags or ()) for place in places] for each in examples])
    temperatures = {group: fit_temperature(encoder[group], true[group]) for group in rows}
    temperatures["flags"] = fit_flag_temperature(encoder["flags"], raised)
    alone = replace(plain, temperatures=temperatures)
    if ngrams is None:
        return alone, alone
    second = _by_group(ngrams, examples, taxonomy)
    opinions = {
        group: fit_second_opinion(encoder[group], second[group][:count], true[group])
        for group, count in rows.items()
    }
    opinions["flags"] = fit_flags_opinion(encoder["flags"], second["flags"], raised)
    both = replace(
        plain,
        ngrams=ngrams.content(),
        ngram_weights={group: opinion.weight for group, opinion in opinions.items()},
        temperatures={group: opinion.temperature for group, opinion in opinions.items()},
    )
    return both, alone


def _by_group(
    ngrams: CharNgrams, examples: Sequence[Example], taxonomy: Taxonomy
) -> dict[str, NDArray[np.float64]]:
    """Per label group, and under "flags", (examples, codes) scores."""
    scores = np.array([ngrams.scores(each.reading) for each in examples])
    sizes = {group: len(codes) for group, codes in taxonomy.groups.items()} | {
        "flags": len(taxonomy.flag_codes)
    }
    parts = np.split(scores.astype(np.float64), list(accumulate(sizes.values()))[:-1], axis=1)
    return dict(zip(sizes, parts, strict=True))
