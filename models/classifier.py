"""What every classifier promises; triage knows no more of a model than this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from data.records import Prediction, Reading


class Classifier(Protocol):
    """Turns readings into calibrated predictions.

    An order's prediction depends on that order alone, never on its neighbours in the call.
    """

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        """One prediction per reading, in order.

        Raises:
            NonFinite: a score is NaN or infinite.
        """
        ...


class NonFinite(ArithmeticError):
    """The model produced a score that is not a number."""
