"""Kill -9 under load: whatever was acknowledged is there afterwards, and the audit log verifies each time."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journeys.real_process import answered
from tests.journeys.small_installation import SmallInstallation
from tests.journeys.witnesses import Callers, answer_the_unanswered, assert_truthful

pytestmark = pytest.mark.journey

KILLS = int(os.environ.get("MINGBIAN_KILLS", "3"))
AT_LEAST = 5  # acknowledged orders before each kill


@pytest.fixture
def installation(tmp_path: Path, database_url: str) -> Iterator[SmallInstallation]:
    installation = SmallInstallation(tmp_path, database_url)
    yield installation
    installation.kill()


@pytest.mark.timeout(120 + 30 * KILLS)
def test_no_acknowledged_order_is_lost(installation: SmallInstallation) -> None:
    chance = random.Random(20260302)
    with Callers([lambda: installation.caller("intake")]) as callers:
        for _ in range(KILLS):
            installation.start()
            with installation.caller("auditor") as auditor:
                note = answered(auditor.get("/v1/audit/checkpoint"))["note"]
            callers.until_more(AT_LEAST)
            time.sleep(chance.uniform(0, 0.5))
            installation.kill()
            # The log is sound, and goes on from what was signed before the kill.
            assert_truthful(installation, callers, held=[note])
    print(f"{KILLS} kills, {len(callers.acknowledged)} acknowledged, {len(callers.unanswered)} unanswered")

    installation.start()
    with installation.caller("intake") as intake:
        for decision in list(callers.acknowledged.values())[-20:]:
            assert answered(intake.get(f"/v1/orders/{decision['order_id']}")) == decision
    answer_the_unanswered(installation, callers)
    assert installation.stop() == 0
    assert_truthful(installation, callers)
    installation.run("data", "verify-audit")
