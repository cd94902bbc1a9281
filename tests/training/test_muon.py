from __future__ import annotations

import pytest
import torch

from training.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(12, 30), (30, 12), (20, 20)])
def test_an_update_is_nearly_orthogonal(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_matrices_of_one_shape_are_made_so_together() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(3, 12, 30)
    alone = torch.stack([orthogonal(matrix) for matrix in matrices])
    torch.testing.assert_close(orthogonal(matrices), alone, atol=0.02, rtol=0.0)


def test_a_step_is_the_librarys_step() -> None:
    """The same momentum, decay and scale as `torch.optim.Muon`, which computes in bf16."""
    torch.manual_seed(1)
    first = torch.nn.Parameter(torch.randn(16, 48))
    second = torch.nn.Parameter(first.detach().clone())
    ours = Muon([first], rate=1e-2)
    theirs = torch.optim.Muon([second], lr=1e-2, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    before = first.detach().clone()
    for _ in range(3):
        gradient = torch.randn(16, 48)
        first.grad, second.grad = gradient.clone(), gradient.clone()
        ours.step()
        theirs.step()
    moved = (first - before).norm()
    assert (first - second).norm() < 0.05 * moved
