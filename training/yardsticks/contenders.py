"""Three ways to solve a task: an encoder, the same shape with random weights, and a linear model."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.svm import LinearSVC
from tokenizers import Tokenizer
from transformers import AutoConfig, BertModel

from data.records import Reading
from training.baseline import INVERSE_REGULARISATION
from training.classifier import PooledClassifier
from training.device import autocast, device
from training.encoder import load_tokenizer
from training.examples import LabelSlices
from training.export import load_classifier
from training.finetune import encode, finetune
from training.vocabulary import save_tokenizer
from training.yardsticks.tasks import GROUP, Task

# Scores of every test text, (texts, labels), from a task and a seed.
Contender = Callable[[Task, int], NDArray[np.float64]]

_PREDICTED_AT_ONCE = 64


def contenders(encoder: Path) -> dict[str, Contender]:
    """By name; the first is the encoder in the folder, the others stand beside it."""
    return {
        "encoder": lambda task, seed: tuned(encoder, task, seed),
        "random weights": lambda task, seed: _untrained(encoder, task, seed),
        "TF-IDF + linear": lambda task, _: _linear(task),
    }


def support_vectors(task: Task) -> NDArray[np.float64]:
    """The margins of a linear support vector machine over the same runs of characters, (texts, labels)."""
    features, tests = _features(task)
    model = LinearSVC(random_state=0).fit(features, [example.labels[GROUP] for example in task.train])
    margins: NDArray[np.float64] = model.decision_function(tests)
    # Of two classes the library gives one column, of more one each.
    return np.column_stack([-margins, margins]) if margins.ndim == 1 else margins


def tuned(encoder: Path, task: Task, seed: int) -> NDArray[np.float64]:
    """Scores of the test texts, (texts, labels), by the encoder fine-tuned on the task."""
    tokenizer = load_tokenizer(encoder)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        finetune(task.plan, encoder, tokenizer, task.train, LabelSlices({GROUP: task.labels}), at, seed)
        model = load_classifier(at).to(device())  # type: ignore[arg-type]
    readings = [example.reading for example in task.test]
    scores = np.empty((len(readings), len(task.labels)))
    by_length = np.argsort([len(reading.title) + len(reading.content) for reading in readings])
    for start in range(0, len(readings), _PREDICTED_AT_ONCE):
        rows = by_length[start : start + _PREDICTED_AT_ONCE]
        scores[rows] = _scores(model, tokenizer, [readings[row] for row in rows], task.plan.length)
    return scores


def _scores(
    model: PooledClassifier, tokenizer: Tokenizer, readings: Sequence[Reading], length: int
) -> NDArray[np.float64]:
    inputs = {name: tensor.to(device()) for name, tensor in encode(tokenizer, readings, length).items()}
    with torch.no_grad(), autocast():
        logits = model(**inputs).logits
    found: NDArray[np.float64] = logits.double().softmax(-1).cpu().numpy()
    return found


def _untrained(encoder: Path, task: Task, seed: int) -> NDArray[np.float64]:
    """The same shape and vocabulary with the random weights that `transformers` gives it."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        BertModel(AutoConfig.from_pretrained(encoder)).save_pretrained(at)
        save_tokenizer(load_tokenizer(encoder), at)
        return tuned(at, task, seed)


def _linear(task: Task) -> NDArray[np.float64]:
    """TF-IDF over runs of one to four characters and a logistic model, as in `training/baseline.py`."""
    features, tests = _features(task)
    model = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=500)
    model.fit(features, [example.labels[GROUP] for example in task.train])
    scores = np.zeros((len(task.test), len(task.labels)))
    scores[:, model.classes_] = model.predict_proba(tests)
    return scores


def _features(task: Task) -> tuple[Any, Any]:
    """TF-IDF of runs of one to four characters, sparse: of the training texts and of the test texts."""
    vectoriser = TfidfVectorizer(analyzer="char", ngram_range=(1, 4), sublinear_tf=True, dtype=np.float32)
    train, test = ([_text(example.reading) for example in part] for part in (task.train, task.test))
    return vectoriser.fit_transform(train), vectoriser.transform(test)


def _text(reading: Reading) -> str:
    return f"{reading.title}\n{reading.content}".strip()
