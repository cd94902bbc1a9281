from __future__ import annotations

import pytest

from data.taxonomy import Taxonomy
from models.notices import notice


def test_every_ground_has_a_notice_with_its_route_and_the_appeal(taxonomy: Taxonomy) -> None:
    for ground in taxonomy.grounds:
        text = notice("explain", ground.code, taxonomy)
        assert text is not None
        assert ground.route in text
        assert "复核" in text


def test_only_verified_policies_in_force_are_cited(taxonomy: Taxonomy) -> None:
    for ground in taxonomy.grounds:
        text = notice("explain", ground.code, taxonomy) or ""
        for policy in map(taxonomy.policy, ground.policies):
            assert (policy.citation in text) == (policy.verified and policy.until is None)


def test_an_empty_order_gets_a_question(taxonomy: Taxonomy) -> None:
    text = notice("ask_again", "no_substance", taxonomy)
    assert text is not None
    assert "？" in text


@pytest.mark.parametrize("disposition", ["dispatch", "transfer", "review"])
def test_nothing_is_drafted_for_an_order_that_is_taken(disposition: str, taxonomy: Taxonomy) -> None:
    assert notice(disposition, None, taxonomy) is None  # type: ignore[arg-type]
