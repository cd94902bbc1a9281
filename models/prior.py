"""Probabilities for a city whose share of unreasonable orders differs from calibration's; pure.

`models/triage.py` applies it to a prediction and to the thresholds alike, so that no order crosses a
threshold because of it: the certified bound on wrongful flags does not depend on the share.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from data.records import REASONABLE, Prediction, Thresholds


@dataclass(frozen=True, slots=True)
class PriorShift:
    """From the share of unreasonable orders that the probabilities were calibrated at to the city's.

    What is written is assumed to be alike given the verdict; then the correction is exact (Saerens et
    al. 2002, eq. 2.4). Both shares lie strictly between 0 and 1.
    """

    calibrated: float
    city: float

    def reasonable(self, p: float) -> float:
        """The corrected P(reasonable) of an order that had `p`."""
        kept = p * (1.0 - self.city) / (1.0 - self.calibrated)
        rest = (1.0 - p) * self.city / self.calibrated
        return kept / (kept + rest)

    def prediction(self, prediction: Prediction) -> Prediction:
        """The same prediction at the city's share; grounds keep their proportions, raw scores stay."""
        before = prediction.verdict[REASONABLE]
        after = self.reasonable(before)
        scale = (1.0 - after) / (1.0 - before) if before < 1.0 else 0.0
        verdict = {code: after if code == REASONABLE else p * scale for code, p in prediction.verdict.items()}
        return replace(prediction, verdict=verdict)

    def thresholds(self, thresholds: Thresholds) -> Thresholds:
        """The thresholds that let the same orders pass, with the city's share beside them."""
        return replace(
            thresholds,
            decline=self._threshold(thresholds.decline),
            dispatch=self._threshold(thresholds.dispatch),
            base_rate=self.city,
        )

    def _threshold(self, t: float | None) -> float | None:
        return None if t is None else 1.0 - self.reasonable(1.0 - t)
