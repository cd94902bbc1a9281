from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from data.errors import BadInput
from data.records import Reading
from training import char_ngrams
from training.char_ngrams import fit_char_ngrams
from training.examples import Example, LabelSlices
from training.recipe import NgramPlan

SLICES = LabelSlices({"verdict": ("reasonable", "legal_route"), "kind": ("ask", "complain")}, ("emergency",))
PLAN = NgramPlan(runs=400, inverse_regularisation=100.0)
STREETS = ("幸福路", "望江路", "东关街", "石桥头", "梧桐里", "北塘村")


def example(
    content: str, verdict: int, kind: int, flags: tuple[int, ...] = (), real: bool = False
) -> Example:
    return Example(Reading("", content), {"verdict": verdict, "kind": kind}, flags=flags, real=real)


def examples() -> list[Example]:
    found = []
    for street in STREETS:
        found += [
            example(f"{street}路灯不亮，请派人修", 0, 1),
            example(f"想问{street}办证要带什么材料", 0, 0),
            example(f"{street}的案子法院判了，我不服，请改判", 1, 1),
            example(f"{street}着火了，快来人", 0, 1, (0,)),
        ]
    return found


def test_what_decides_is_learned_for_every_output() -> None:
    model = fit_char_ngrams(PLAN, examples(), SLICES)
    lamp, asked, court, fire = (
        model.scores(Reading("", text))
        for text in ("柳荫巷路灯不亮", "想问柳荫巷要什么材料", "柳荫巷的事法院判了", "柳荫巷着火了")
    )
    assert court[1] - court[0] > 0.5 > -1 > lamp[1] - lamp[0]
    assert asked[2] > asked[3]
    assert lamp[3] > lamp[2]
    assert fire[4] > 0 > lamp[4]


def test_the_same_examples_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = fit_char_ngrams(PLAN, examples(), SLICES).content()
    assert fit_char_ngrams(PLAN, examples(), SLICES).content() == alone
    monkeypatch.setattr(char_ngrams, "_WORTH_WORKERS", 1)
    monkeypatch.setattr(char_ngrams, "usable_cores", lambda: 2)
    assert fit_char_ngrams(PLAN, examples(), SLICES).content() == alone, "workers change nothing"


def test_no_more_runs_are_kept_than_wanted_and_those_of_most_texts() -> None:
    model = fit_char_ngrams(NgramPlan(runs=60, inverse_regularisation=10.0), examples(), SLICES)
    assert len(model.keys) <= 60
    assert np.uint64(ord("，")) in model.keys
    assert (np.diff(model.keys.astype(object)) > 0).all()


def test_real_messages_teach_kinds_but_no_verdict() -> None:
    alone = fit_char_ngrams(PLAN, examples(), SLICES)
    asked = "您好，关于暖气的事情"
    messages = [example(f"{asked}，{street}", 0, 0, real=True) for street in STREETS]
    together = fit_char_ngrams(PLAN, [*examples(), *messages], SLICES)
    before, after = alone.scores(Reading("", asked)), together.scores(Reading("", asked))
    kinds, verdicts = (
        (after[right] - after[wrong]) - (before[right] - before[wrong]) for right, wrong in ((2, 3), (0, 1))
    )
    # Which runs are known, and how rare they are, moves with every text.
    assert kinds > 2 * abs(verdicts)


def test_scores_are_the_fitted_model_s_own() -> None:
    """Of two classes: the log-odds that scikit-learn gives, as a difference of two scores."""
    given = examples()
    model = fit_char_ngrams(PLAN, given, SLICES)
    odds = [float(scores[1] - scores[0]) for scores in (model.scores(each.reading) for each in given)]
    features = np.zeros((len(given), len(model.keys)))
    for row, each in enumerate(given):
        places, values = model.features(each.reading)
        features[row, places] = values
    fitted = LogisticRegression(C=100.0, max_iter=300, tol=1e-5)
    fitted.fit(features, [each.labels["verdict"] for each in given])
    assert odds == pytest.approx(fitted.decision_function(features), abs=0.1)


def test_a_code_without_examples_is_refused() -> None:
    with pytest.raises(BadInput):
        fit_char_ngrams(PLAN, [each for each in examples() if not each.labels["verdict"]], SLICES)


def test_a_flag_that_nobody_raised_is_rare_everywhere() -> None:
    model = fit_char_ngrams(PLAN, [each for each in examples() if not each.flags], SLICES)
    calm, fire = (model.scores(Reading("", text))[4] for text in ("路灯不亮", "幸福路着火了"))
    assert calm == fire == pytest.approx(np.log(0.5 / 18.5))
