"""`/audit`: an auditor finds an order and reads its whole story, with proofs checked while it is told."""

from __future__ import annotations

import json
import re
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import RedirectResponse, Response

from data.records import StoredDecision
from data.store import audit_log, decisions, orders
from data.store.audit_log import Entry
from serving import auditing
from serving.access import AllowVisitor, Visitor
from serving.auditing import Story
from serving.desk import DeskDep
from serving.pages.frame import render
from serving.pages.highlight import segments
from serving.pages.review import likeliest, name_of
from serving.routes.parameters import After, OrderId
from serving.statement import basis_of, coded, flag_messages, ground_message

router = APIRouter(prefix="/audit")

Reader = Annotated[Visitor, Depends(AllowVisitor("auditor", "admin"))]
_PAGE: Final = 20
_SEARCHED: Final = 500
_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@router.get("")
def get_search(
    desk: DeskDep,
    visitor: Reader,
    source: Annotated[str, Query(max_length=64)] = "",
    number: Annotated[str, Query(max_length=64)] = "",
    after: After = None,
) -> Response:
    """By id at once; by number with its source, or among the last few hundred.

    The list tells no word of an order: reading one leaves an entry, looking for one does not.
    """
    wanted = number.strip()
    if _ID.fullmatch(wanted):
        return RedirectResponse(f"/audit/{wanted}", 303)
    with desk.database.reading() as conn:
        if wanted and source.strip():
            found = orders.find(conn, source.strip(), wanted)
        elif wanted:
            recent = orders.recent(conn, desk.keyring.vault, None, _SEARCHED)
            found = [header for header, _ in recent if header.number == wanted]
        else:
            recent = orders.recent(conn, desk.keyring.vault, after, _PAGE + 1)
            found = [header for header, _ in recent]
        shown = [(header, decisions.of_order(conn, header.id)[-1].decision) for header in found[:_PAGE]]
        size = audit_log.size(conn)
    page = render(
        "audit.html",
        visitor,
        found=shown,
        next=found[_PAGE - 1].id if len(found) > _PAGE else None,
        searched=bool(wanted),
        source=source,
        number=number,
        size=size,
    )
    return Response(page, media_type="text/html")


@router.get("/{order_id}")
def get_story(order_id: OrderId, desk: DeskDep, visitor: Reader) -> Response:
    """Reading is itself an entry, written before the story is told, so that the story holds it."""
    with desk.database.transaction() as conn:
        orders.header(conn, order_id)
        audit_log.append(conn, "record.read", order_id, visitor.caller.id, desk.now(), {})
        checkpoint = auditing.current_checkpoint(conn, desk)
        story = auditing.tell(conn, desk, order_id)
        proofs = {entry.index: auditing.prove(conn, entry, checkpoint) for entry in story.entries}
    first = story.decisions[0].decision
    text = story.text
    page = render(
        "story.html",
        visitor,
        story=story,
        order=story.header,
        checkpoint=checkpoint,
        origin=desk.settings.log_origin,
        proofs=proofs,
        all_hold=all(proof.holds for proof in proofs.values()),
        title_segments=None if text is None else segments(text.title, "title", first.rule_hits),
        content_segments=None if text is None else segments(text.content, "content", first.rule_hits),
        facts_of=_facts,
        decision_of=lambda entry: _decision(story, entry),
        review_of=lambda entry: next((r for r in story.reviews if r.id == entry.facts.get("review")), None),
        likeliest=likeliest,
        name_of=lambda code: name_of(code, desk.taxonomy),
        coded=lambda code: coded(code, desk.taxonomy),
        flags_of=lambda codes: flag_messages(codes, desk.taxonomy),
        ground_of=lambda code: ground_message(code, desk.taxonomy),
        basis_of=lambda policies: basis_of(policies, desk.taxonomy),
    )
    return Response(page, media_type="text/html")


@router.get("/{order_id}/export")
def get_export(order_id: OrderId, desk: DeskDep, _: Reader) -> Response:
    """The same as `/v1/audit/orders/{id}/export`, for a browser's cookie."""
    with desk.database.transaction() as conn:
        export = auditing.export(conn, desk, order_id)
    headers = {"Content-Disposition": f'attachment; filename="mingbian-{order_id}.json"'}
    return Response(json.dumps(export, ensure_ascii=False), 200, headers, "application/json")


def _decision(story: Story, entry: Entry) -> StoredDecision | None:
    """The stored decision that an `order.decided` entry speaks of."""
    if entry.event != "order.decided":
        return None
    return next((stored for stored in story.decisions if stored.id == entry.facts.get("decision")), None)


def _facts(entry: Entry) -> str:
    return json.dumps(entry.facts, ensure_ascii=False, indent=2, sort_keys=True)
