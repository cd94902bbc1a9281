from __future__ import annotations

import torch

from training.soup import mean_weights


def test_weights_are_averaged_and_counters_kept() -> None:
    first = {"weight": torch.tensor([1.0, 3.0]), "places": torch.tensor([0, 1])}
    second = {"weight": torch.tensor([3.0, 5.0]), "places": torch.tensor([0, 1])}
    mean = mean_weights([first, second])
    assert mean["weight"].tolist() == [2.0, 4.0]
    assert mean["places"].tolist() == [0, 1]
