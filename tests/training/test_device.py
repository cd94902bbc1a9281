from __future__ import annotations

import pytest
import torch

from training import device


@pytest.mark.parametrize(
    ("able", "expected"),
    [({"avx512_bf16": True}, torch.bfloat16), ({"avx2": True, "avx512_bf16": False}, torch.float32)],
)
def test_bf16_only_where_the_cpu_computes_it(
    able: dict[str, bool], expected: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("a GPU computes bf16")
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    device.precision.cache_clear()
    try:
        assert device.precision() is expected
        with device.autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is expected
        assert ("bf16" in device.hardware()) == (expected is torch.bfloat16)
    finally:
        device.precision.cache_clear()
