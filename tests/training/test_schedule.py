from __future__ import annotations

from itertools import pairwise

import pytest

from training.schedule import plateau


def test_the_rate_rises_stays_and_falls() -> None:
    factors = [plateau(step, step / 100, 10, 0.2) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9:80] == [1.0] * 71
    assert factors[90] == pytest.approx(0.5)
    assert 0 < factors[99] < 0.06
    assert all(later < earlier for earlier, later in pairwise(factors[80:]))


def test_before_it_falls_the_rate_does_not_depend_on_the_end() -> None:
    assert all(
        plateau(step, step / 100, 10, 0.2) == plateau(step, step / 1000, 10, 0.2) for step in range(80)
    )
