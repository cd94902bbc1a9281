"""The yardstick beside every encoder: character n-grams and a linear model; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from data.corpus.labels import LabelledOrder
from data.corpus.snapshot import Snapshot
from data.errors import BadInput
from data.masking import read_text
from data.records import Reading
from data.taxonomy import Taxonomy
from training.metrics import Metrics, scores

# Chosen on the calibration region w3 among 3, 10 and 30, by verdict AUC.
INVERSE_REGULARISATION = 10.0


@dataclass(frozen=True, slots=True)
class Baseline:
    """TF-IDF over runs of one to four characters, and a multinomial logistic model per label group.

    `platt` maps the verdict's log-odds of `unreasonable` to a probability: fifteen grounds share
    what they get, so the plain sum of theirs is biased towards `reasonable` or away from it.
    """

    vectoriser: TfidfVectorizer
    models: dict[str, LogisticRegression]
    platt: LogisticRegression
    taxonomy: Taxonomy

    def p_unreasonable(self, orders: Sequence[LabelledOrder]) -> NDArray[np.float64]:
        """(orders,) calibrated probabilities."""
        return self._calibrated(self._probabilities("verdict", map(text_of, orders)))

    def p_of_readings(self, readings: Sequence[Reading]) -> NDArray[np.float64]:
        """The same for texts without labels."""
        texts = (f"{reading.title}\n{reading.content}" for reading in readings)
        return self._calibrated(self._probabilities("verdict", texts))

    def metrics(self, orders: Sequence[LabelledOrder]) -> Metrics:
        """How well it does on these orders."""
        verdict = self._probabilities("verdict", map(text_of, orders))
        return scores(
            orders,
            p_unreasonable=self._calibrated(verdict),
            ground_probs=verdict[:, 1:],
            kind_probs=self._probabilities("kind", map(text_of, orders)),
            subject_probs=self._probabilities("subject", map(text_of, orders)),
            taxonomy=self.taxonomy,
        )

    def _probabilities(self, group: str, texts: Iterable[str]) -> NDArray[np.float64]:
        """(texts, codes), columns in the taxonomy's order."""
        features = self.vectoriser.transform(texts)
        probabilities: NDArray[np.float64] = self.models[group].predict_proba(features)
        return probabilities

    def _calibrated(self, verdict: NDArray[np.float64]) -> NDArray[np.float64]:
        probabilities: NDArray[np.float64] = self.platt.predict_proba(_log_odds(verdict))[:, 1]
        return probabilities


def fit(snapshot: Snapshot, taxonomy: Taxonomy) -> Baseline:
    """A baseline with weights from the train part, calibrated on the calibration part (Platt 1999).

    Nothing in it is random: the same snapshot gives the same figures.

    Raises:
        BadInput: a code of the taxonomy has no order in the train part, or the calibration part
            holds one verdict only.
    """
    unreasonable = [order.unreasonable for order in snapshot.calibration]
    if len(set(unreasonable)) != 2:
        raise BadInput("calibration_impossible", "校准部分须既有合理也有不合理的工单")
    # Classes are numbered as the taxonomy orders them, so that a model's columns are its codes.
    places = {
        group: [codes.index(getattr(order, group)) for order in snapshot.train]
        for group, codes in taxonomy.groups.items()
    }
    if any(len(set(places[group])) != len(codes) for group, codes in taxonomy.groups.items()):
        raise BadInput("train_incomplete", "训练部分缺少某些代码的工单")
    vectoriser = TfidfVectorizer(
        analyzer="char", ngram_range=(1, 4), min_df=2, sublinear_tf=True, dtype=np.float32
    )
    features = vectoriser.fit_transform(map(text_of, snapshot.train))
    models = {
        group: LogisticRegression(C=INVERSE_REGULARISATION, max_iter=500).fit(features, true)
        for group, true in places.items()
    }
    verdict = models["verdict"].predict_proba(vectoriser.transform(map(text_of, snapshot.calibration)))
    platt = LogisticRegression(C=np.inf).fit(_log_odds(verdict), unreasonable)
    return Baseline(vectoriser, models, platt, taxonomy)


def text_of(order: LabelledOrder) -> str:
    """What the model reads of an order: title and content, canonical and masked as in service."""
    reading = read_text(order.title, order.content).reading
    return f"{reading.title}\n{reading.content}"


def _log_odds(verdict: NDArray[np.float64]) -> NDArray[np.float64]:
    """(orders, 1) log-odds of any ground against `reasonable`, the first column."""
    tiny = np.finfo(np.float32).tiny
    odds: NDArray[np.float64] = np.log(np.maximum(verdict[:, 1:].sum(axis=1), tiny)) - np.log(
        np.maximum(verdict[:, 0], tiny)
    )
    return odds[:, np.newaxis]
