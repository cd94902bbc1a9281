from __future__ import annotations

import numpy as np
import pytest

from training.style_leak import style_leak

NOWHERE = np.array([], dtype=np.float64)


def test_a_score_that_is_alike_everywhere_tells_nothing() -> None:
    random = np.random.default_rng(0)
    leak = style_leak(random.random(4000), np.repeat(["w1", "w2"], 2000), random.random(4000))
    assert leak.authored == pytest.approx(0.5, abs=0.03)
    assert leak.regions is not None
    assert leak.regions[1] == pytest.approx(0.5, abs=0.03)
    assert leak.passes


@pytest.mark.parametrize("sign", [1, -1])
def test_a_score_that_follows_the_source_fails(sign: int) -> None:
    random = np.random.default_rng(0)
    authored = random.normal(size=200) + 4 * sign
    leak = style_leak(authored, np.repeat(["w1"], 200), random.normal(size=200))
    assert leak.authored is not None
    assert leak.authored > 0.95
    assert leak.regions is None
    assert not leak.passes


def test_the_region_that_stands_out_is_named() -> None:
    random = np.random.default_rng(0)
    score = np.concatenate([random.normal(size=100), random.normal(size=100), random.normal(size=100) + 5])
    leak = style_leak(score, np.repeat(["w1", "w2", "w3"], 100), NOWHERE)
    assert leak.authored is None
    assert leak.regions is not None
    assert leak.regions[0] == "w3"
    assert not leak.passes
