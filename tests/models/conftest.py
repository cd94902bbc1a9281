from __future__ import annotations

import pytest

from data.taxonomy import Taxonomy
from models.rules import Rules


@pytest.fixture(scope="session")
def rules(taxonomy: Taxonomy) -> Rules:
    return Rules.load(taxonomy)
