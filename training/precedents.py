"""Makes a bundle's precedents from the orders that trained it, and measures them.

`training/run.py` calls it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from tqdm import tqdm

from data.corpus.labels import LabelledOrder
from data.masking import read_text
from models.encoder_classifier import EncoderClassifier
from models.lanes import usable_cores
from models.precedents import Precedent, Precedents, deflated, directions, packed

States = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PrecedentFigures:
    """How often the most alike precedent of its own side shares an order's subject, or its ground.

    Subjects are counted over all orders, grounds over unreasonable ones; `by_words` says the same of
    the most alike by TF-IDF of character runs.
    """

    subject: float
    ground: float
    subject_by_words: float
    ground_by_words: float


def states_of(model: EncoderClassifier, orders: Sequence[LabelledOrder]) -> States:
    """(orders, width): the encoder's state of each, as many at a time as there are cores."""
    readings = [read_text(order.title, order.content).reading for order in orders]
    with ThreadPoolExecutor(usable_cores()) as pool:
        found = pool.map(model.state, readings)
        return np.array(list(tqdm(found, total=len(readings), desc="precedents", unit="text")))


def fit_precedents(states: States, orders: Sequence[LabelledOrder], dimensions: int, seed: int) -> Precedents:
    """Every order as a precedent, by the directions in which the orders' states differ most.

    States of one encoder share most of their direction, so that everything looks alike; what they
    share is taken away, and what is left is evened out (whitening, Su et al. 2021).
    """
    fitted = PCA(min(dimensions, *states.shape), whiten=True, random_state=seed).fit(states)
    centre = fitted.mean_.astype(np.float32)
    projection = (fitted.components_.T / np.sqrt(fitted.explained_variance_)).astype(np.float32)
    return Precedents(
        centre=centre,
        projection=projection,
        vectors=packed(directions(states, centre, projection)),
        unreasonable=np.array([order.unreasonable for order in orders]),
        orders=deflated(
            Precedent(order.id, order.title, order.content, order.verdict, order.why, 1.0) for order in orders
        ),
    )


def precedent_figures(
    precedents: Precedents,
    of: Sequence[LabelledOrder],
    states: States,
    orders: Sequence[LabelledOrder],
) -> PrecedentFigures:
    """Of `orders`, whose states are given, against the precedents made `of` others."""
    vectors = directions(states, precedents.centre, precedents.projection)
    words = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), sublinear_tf=True, max_features=100_000)
    theirs = words.fit_transform(_text(order) for order in of)
    ours = words.transform(_text(order) for order in orders)
    alike = vectors @ precedents.vectors.T.astype(np.float32)
    by_words = (ours @ theirs.T).toarray()
    return PrecedentFigures(*_shared(alike, of, orders), *_shared(by_words, of, orders))


def _shared(
    alike: NDArray[np.floating], of: Sequence[LabelledOrder], orders: Sequence[LabelledOrder]
) -> tuple[float, float]:
    """(share of equal subjects, share of equal grounds) between orders and the most alike of their side."""
    sides = np.array([each.unreasonable for each in of])
    own = np.array([order.unreasonable for order in orders])
    best = np.where(own[:, np.newaxis] == sides, alike, -np.inf).argmax(axis=1)
    nearest = [of[place] for place in best]
    subject = np.mean([a.subject == b.subject for a, b in zip(nearest, orders, strict=True)])
    ground = np.mean(
        [a.verdict == b.verdict for a, b in zip(nearest, orders, strict=True) if b.unreasonable] or [0.0]
    )
    return float(subject), float(ground)


def _text(order: LabelledOrder) -> str:
    reading = read_text(order.title, order.content).reading
    return f"{reading.title}\n{reading.content}"
