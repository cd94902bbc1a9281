"""Labels that a model trained on the other regions finds unlikely; `python -m training labels` lists them.

A person reads the list. Nothing here changes a label: that is done by hand, with a line in CORRECTIONS.tsv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

from data.corpus.labels import LabelledOrder
from data.errors import BadInput
from data.taxonomy import Taxonomy
from training.baseline import INVERSE_REGULARISATION, text_of

FOLDS = 5


@dataclass(frozen=True, slots=True)
class Suspect:
    """One label worth a second look.

    Attributes:
        quality: the probability that other regions' orders lend to the label, 0 to 1.
    """

    id: str
    group: str
    given: str
    suggested: str
    quality: float


def suspects(
    orders: Sequence[LabelledOrder], group: str, taxonomy: Taxonomy, folds: int = FOLDS
) -> list[Suspect]:
    """The labels of one group that confident learning (Northcutt et al. 2021) doubts, worst first.

    Probabilities are out of fold, whole regions together, so that no order vouches for its twin or its
    writer.

    Raises:
        BadInput: there are fewer regions than folds.
    """
    codes = taxonomy.groups[group]
    given = np.array([codes.index(getattr(order, group)) for order in orders])
    probabilities = _out_of_fold(orders, given, len(codes), folds)
    # cleanlab wants classes numbered without gaps: a code that no order bears is left out.
    there = np.unique(given)
    labels = np.searchsorted(there, given)
    shares = probabilities[:, there] / probabilities[:, there].sum(axis=1, keepdims=True)
    quality = get_label_quality_scores(labels, shares)
    rows = find_label_issues(labels, shares, return_indices_ranked_by="self_confidence", n_jobs=1)
    return [
        Suspect(
            orders[row].id,
            group,
            codes[given[row]],
            codes[int(probabilities[row].argmax())],
            round(float(quality[row]), 4),
        )
        for row in rows
    ]


def _out_of_fold(
    orders: Sequence[LabelledOrder], given: NDArray[np.int64], codes: int, folds: int
) -> NDArray[np.float64]:
    """(orders, codes) from character n-grams: a model of another kind than the one that is shipped."""
    regions = [order.region for order in orders]
    if len(set(regions)) < folds:
        raise BadInput("regions_too_few", f"至少要有 {folds} 个地区的标注文件")
    texts = [text_of(order) for order in orders]
    found = np.zeros((len(orders), codes))
    parts = GroupKFold(folds).split(texts, given, regions)
    for train, test in tqdm(parts, total=folds, desc="out of fold", unit="fold"):
        vectoriser = TfidfVectorizer(
            analyzer="char", ngram_range=(1, 3), min_df=3, sublinear_tf=True, dtype=np.float32
        )
        model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=200)
        model.fit(vectoriser.fit_transform([texts[row] for row in train]), given[train])
        features = vectoriser.transform([texts[row] for row in test])
        found[np.ix_(test, model.classes_)] = model.predict_proba(features)
    return found
