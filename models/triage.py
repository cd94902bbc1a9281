"""The one path from an order's text to a decision: HTTP, files and evaluation all go through it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from logging import getLogger
from pathlib import Path
from typing import Final, TypeVar

from data.canonical import CANONICAL_VERSION, is_traditional
from data.errors import BadInput, NotFound
from data.masking import MASKING_VERSION, read_text
from data.records import Decision, FallbackReason, Prediction, Reading, Thresholds, Versions
from data.taxonomy import Taxonomy, load_taxonomy
from models.bundle import Bundle, read_bundle
from models.classifier import Classifier, NonFinite
from models.encoder_classifier import EncoderClassifier
from models.explain import Explanation, explain
from models.fast_path import choose_runtime
from models.lanes import DeadlineExceeded, Lanes, Priority, usable_cores
from models.policy import Evidence, decide
from models.precedents import Nearest, Precedents, read_precedents
from models.prior import PriorShift
from models.rules import Rules

log = getLogger(__name__)

Hint = TypeVar("Hint")

_PATIENCE: Final = 4  # deadlines that a hint may take: an explanation classifies many readings
_FAILURES_IN_A_ROW: Final = 5  # one order may break the model by itself; so many say that it is broken
_NO_THRESHOLDS: Final = Thresholds(decline=None, dispatch=None)
_SHOWN_A_SIDE: Final = 3


class Triage:
    """Canonicalise, mask, match rules, classify, fall back, decide.

    Thread-safe. With a deadline, a classification that outlasts it is abandoned and the rules
    answer; while every worker is stuck so, later orders get the rules' answer at once.
    """

    def __init__(
        self,
        classifier: Classifier | None,
        bundle: Bundle | None,
        missing: FallbackReason | None,
        taxonomy: Taxonomy,
        rules: Rules,
        *,
        auto_decline: bool = False,
        base_rate: float | None = None,
        deadline_s: float | None = None,
        lanes: int | None = None,
        precedents: Precedents | None = None,
    ) -> None:
        """`lanes` inference streams run at a time; None: one for each core that this process may use."""
        self.bundle = bundle
        self.missing = missing
        self.taxonomy = taxonomy
        self.rules = rules
        self._classifier = classifier
        self._precedents = precedents
        self._auto_decline = auto_decline
        self._shift = None if bundle is None or base_rate is None else PriorShift(bundle.base_rate, base_rate)
        # What bounds a decision, at the city's base rate where it has stated one.
        self.thresholds = _NO_THRESHOLDS if bundle is None else bundle.thresholds
        if self._shift is not None:
            self.thresholds = self._shift.thresholds(self.thresholds)
        self._deadline_s = deadline_s
        self._counting = threading.Lock()
        self._failures = 0  # in a row, of the model itself: a deadline says nothing about its answers
        self._last_failure: FallbackReason | None = None
        self.lanes = Lanes(usable_cores() if lanes is None else lanes)
        self.versions = Versions(
            bundle=None if bundle is None else bundle.digest,
            rules=rules.version,
            taxonomy=taxonomy.version,
            canonical=CANONICAL_VERSION,
            masking=MASKING_VERSION,
            certificate=None if bundle is None else bundle.certificate_digest,
        )

    @property
    def ready(self) -> bool:
        """A model is loaded, has answered once, is not stuck on every lane, and does not fail in a row."""
        return self.trouble is None

    @property
    def trouble(self) -> FallbackReason | None:
        """Why the rules answer whatever comes; None while the model does.

        It is still asked each time, so that one good answer ends a row of failures.
        """
        if self._classifier is None:
            return self.missing or "model_missing"
        if self.lanes.stuck():
            return "model_slow"
        with self._counting:
            return self._last_failure if self._failures >= _FAILURES_IN_A_ROW else None

    @property
    def runtime(self) -> str | None:
        """What runs the model's graph, by name; None without a model of our own."""
        return self._classifier.runtime.name if isinstance(self._classifier, EncoderClassifier) else None

    def decide(
        self, title: str, content: str, decided_at: datetime, priority: Priority = "interactive"
    ) -> Decision:
        """The decision on one order; total over all strings."""
        text = read_text(title, content)
        prediction, fallback = self._classified(text.reading, priority)
        if prediction is not None and self._shift is not None:
            prediction = self._shift.prediction(prediction)
        evidence = Evidence(
            prediction=prediction,
            rule_hits=self.rules.hits(text),
            traditional=is_traditional(title) or is_traditional(content),
            fallback=fallback,
            thresholds=self.thresholds,
            versions=self.versions,
        )
        return decide(evidence, self.taxonomy, auto_decline=self._auto_decline, decided_at=decided_at)

    def explain(self, title: str, content: str, decision: Decision) -> Explanation | None:
        """The clauses that a model's decision rests on, in the order as sent.

        None where none can be shown, where another model decided than the one that is loaded, and
        where this one cannot answer now: it is a hint that nobody waits for.
        """
        classifier = self._classifier
        if classifier is None or not self._made(decision):
            return None
        text = read_text(title, content)
        return self._hint("an explanation", lambda: explain(text, classifier, decision.verdict))

    def nearest(self, title: str, content: str, decision: Decision) -> Nearest:
        """The labelled orders that this model finds most like the order; none where `explain` gives none."""
        classifier, precedents = self._classifier, self._precedents
        if not isinstance(classifier, EncoderClassifier) or precedents is None or not self._made(decision):
            return Nearest()
        reading = read_text(title, content).reading
        found = self._hint(
            "a search for precedents",
            lambda: precedents.nearest(classifier.state(reading), _SHOWN_A_SIDE),
        )
        return found or Nearest()

    def close(self) -> None:
        self.lanes.close()

    def _made(self, decision: Decision) -> bool:
        """The model that is loaded made this decision."""
        return decision.source == "model" and decision.versions.bundle == self.versions.bundle

    def _hint(self, name: str, work: Callable[[], Hint]) -> Hint | None:
        """What the work gives, done while no caller waits; None where it fails or takes long."""
        patience_s = None if self._deadline_s is None else _PATIENCE * self._deadline_s
        try:
            return self.lanes.run(work, patience_s, "bulk")
        except DeadlineExceeded:
            log.warning("%s exceeded its deadline and is left out", name)
        except Exception:
            log.exception("%s failed and is left out", name)
        return None

    def _classified(
        self, reading: Reading, priority: Priority
    ) -> tuple[Prediction | None, FallbackReason | None]:
        if self._classifier is None:
            return None, self.missing
        classifier = self._classifier
        try:
            (prediction,) = self.lanes.run(lambda: classifier.classify([reading]), self._deadline_s, priority)
        except DeadlineExceeded:
            log.warning("classification exceeded its deadline; the rules answer")
            return None, "model_slow"
        except NonFinite:
            log.error("the model's scores are not finite; the rules answer")
            return None, self._failed("model_nonfinite")
        except Exception:
            log.exception("classification failed; the rules answer")
            return None, self._failed("model_error")
        with self._counting:
            self._failures = 0
        return prediction, None

    def _failed(self, reason: FallbackReason) -> FallbackReason:
        with self._counting:
            self._failures += 1
            self._last_failure = reason
        return reason


def open_triage(
    folder: Path,
    *,
    auto_decline: bool = False,
    base_rate: float | None = None,
    deadline_s: float | None = None,
    lanes: int | None = None,
    cache: Path | None = None,
) -> Triage:
    """Load taxonomy, rules and the bundle in `folder`; without a usable bundle the rules answer.

    `lanes` is as for `Triage`. `cache` is where `choose_runtime` remembers its verdicts; None: ONNX
    Runtime, and nothing is tested.

    Raises:
        BadInput: the taxonomy or the rules are malformed. A bad bundle is logged, never raised.
    """
    taxonomy = load_taxonomy()
    rules = Rules.load(taxonomy)
    bundle: Bundle | None = None
    classifier: EncoderClassifier | None = None
    precedents: Precedents | None = None
    missing: FallbackReason | None = None
    try:
        bundle = read_bundle(folder, taxonomy)
        streams = usable_cores() if lanes is None else lanes
        classifier = EncoderClassifier(bundle, choose_runtime(bundle, streams, cache))
        classifier.warm_up()
        precedents = read_precedents(bundle.precedents) if bundle.precedents else None
        # What has been loaded is not needed twice: 40 MB.
        bundle = replace(bundle, graph=b"", ngrams=b"", precedents=b"")
    except NotFound as error:
        missing = "model_missing"
        log.error("no model, the rules answer: %s", error)
    except BadInput as error:
        missing = "model_corrupt"
        log.error("the bundle is refused, the rules answer: %s", error)
    except Exception:
        bundle, classifier, precedents, missing = None, None, None, "model_corrupt"
        log.exception("the model cannot run, the rules answer")
    return Triage(
        classifier,
        bundle,
        missing,
        taxonomy,
        rules,
        auto_decline=auto_decline,
        base_rate=base_rate,
        deadline_s=deadline_s,
        lanes=lanes,
        precedents=precedents,
    )
