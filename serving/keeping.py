"""Keeps decided orders, all about one in one transaction, which concurrent ones share; the intake calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from data.errors import BadInput, Conflict, MingbianError
from data.records import Caller, Decision, WorkOrder
from data.store import decisions, idempotency, orders, reviews
from data.store.database import Database
from data.store.group_commit import GroupCommit
from data.store.identifiers import new_id
from data.store.pending_rows import PendingRows, pending_rows
from data.taxonomy import Taxonomy
from serving.metrics import Metrics
from serving.once import Answer, Answers, Attempt
from serving.statement import decision_message

_CREATED: Final = 201

Outcome = Answer | MingbianError


@dataclass(frozen=True, slots=True)
class Arrival:
    """One order that is decided and not yet kept.

    `keyed` is the attempt under the caller's Idempotency-Key, `natural` that under what names the order.
    """

    caller: Caller
    order: WorkOrder
    decision: Decision
    keyed: Attempt
    natural: Attempt


class OrderKeeper:
    """Order, decision, audit leaves, review item and stored answer live or fail together."""

    def __init__(
        self,
        database: Database,
        vault_key: bytes,
        taxonomy: Taxonomy,
        metrics: Metrics,
        now: Callable[[], datetime],
        crowded: Callable[[], bool] = lambda: False,
    ) -> None:
        """`crowded` says whether orders queue for the model, so that more will soon come to be kept."""
        self._vault_key = vault_key
        self._taxonomy = taxonomy
        self._now = now
        self._group: GroupCommit[Arrival, Answer] = GroupCommit(
            database, self.keep_all, metrics.committed, crowded=crowded
        )

    def keep(self, arrival: Arrival) -> Answer:
        """The answer to the order's sender, stored; a repeat gets the first one.

        Raises:
            BadInput: `idempotency_mismatch`.
            Conflict: `order_exists`, `revision_stale`.
            Unavailable: the database cannot be reached; nothing was kept.
        """
        return self._group.keep(arrival)

    def keep_all(self, conn: Connection, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Each one's answer, or the error that `keep` raises for it, in order."""
        outcomes: dict[int, Outcome] = {}
        for wave in _waves(arrivals):
            chosen = [arrivals[place] for place in wave]
            outcomes.update(zip(wave, self._keep_wave(conn, chosen), strict=True))
        return [outcomes[place] for place in range(len(arrivals))]

    def _keep_wave(self, conn: Connection, arrivals: Sequence[Arrival]) -> list[Outcome]:
        """Arrivals of which no two are about the same order: what each must know is read for all at once."""
        attempts = [attempt for arrival in arrivals for attempt in (arrival.keyed, arrival.natural)]
        answered = idempotency.answers(conn, [made.name for made in attempts if made.name is not None])
        newest = orders.newest_revisions(conn, [arrival.order for arrival in arrivals])
        with pending_rows(conn) as rows:
            return [self._outcome(rows, arrival, answered, newest) for arrival in arrivals]

    def _outcome(
        self,
        rows: PendingRows,
        arrival: Arrival,
        answered: Answers,
        newest: dict[tuple[str, str], int],
    ) -> Outcome:
        try:
            answer = arrival.keyed.earlier(answered)
            if answer is not None:
                return answer
            answer = _same_order(arrival.natural, answered)
            if answer is None:
                order = arrival.order
                answer = self._keep(rows, arrival, newest.get((order.source, order.number)))
                arrival.natural.store(rows, answer, self._now())
            arrival.keyed.store(rows, answer, self._now())
        except MingbianError as error:
            return error
        return answer

    def _keep(self, rows: PendingRows, arrival: Arrival, newest: int | None) -> Answer:
        order, actor = arrival.order, arrival.caller.id
        commitment = orders.put(rows, self._vault_key, order, actor, newest)
        decision_id = new_id()
        # The lock may have been waited for: the order of times in the log is the order of the log.
        decision = replace(arrival.decision, decided_at=self._now())
        decisions.put(rows, order.id, decision_id, decision, commitment, actor)
        review_id = None
        if decision.review_reasons:
            review_id = new_id()
            reviews.put(rows, review_id, order.id, decision_id, decision, decision.decided_at, actor)
        message = decision_message(order, decision_id, decision, review_id, self._taxonomy)
        body = message.model_dump_json().encode()
        return Answer(_CREATED, body, {"Location": f"/v1/orders/{order.id}"})


def _same_order(natural: Attempt, answered: Answers) -> Answer | None:
    try:
        return natural.earlier(answered)
    except BadInput:
        raise Conflict("order_exists", "该来源、编号与版次的工单已经受理，且内容不同") from None


def _waves(arrivals: Sequence[Arrival]) -> list[list[int]]:
    """Places of the arrivals, so that an order's second revision is looked at after its first is written."""
    earlier: Counter[tuple[str, str]] = Counter()
    waves: list[list[int]] = []
    for place, arrival in enumerate(arrivals):
        name = (arrival.order.source, arrival.order.number)
        if earlier[name] == len(waves):
            waves.append([])
        waves[earlier[name]].append(place)
        earlier[name] += 1
    return waves
