from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    """Test workers run side by side: threads that wait for each other across them cost most of the time."""
    torch.set_num_threads(1)
