"""`/review`: a reviewer takes an order, judges it blind, compares, and resolves; works without JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Form, Query
from sqlalchemy import Connection
from starlette.responses import RedirectResponse, Response

from data.errors import BadInput, Conflict, MingbianError
from data.records import Decision, ReviewStatus
from data.taxonomy import Taxonomy
from serving import reviewing
from serving.access import AllowForm, AllowVisitor, Visitor
from serving.desk import Desk, DeskDep
from serving.errors import failure_of
from serving.pages.drafts import Draft, drafted
from serving.pages.frame import render
from serving.pages.highlight import segments
from serving.reviewing import Seen
from serving.routes.parameters import After, ReviewId
from serving.statement import basis_of, coded, flag_messages, ground_message

router = APIRouter(prefix="/review")

Reader = Annotated[Visitor, Depends(AllowVisitor("reviewer", "adjudicator"))]
Writer = Annotated[Visitor, Depends(AllowForm("reviewer", "adjudicator"))]
Number = Annotated[int, Form(ge=0, le=2**53 - 1)]
_PAGE: Final = 25


@router.get("")
def get_queue(
    desk: DeskDep,
    visitor: Reader,
    status: Annotated[ReviewStatus | None, Query()] = None,
    after: After = None,
) -> Response:
    with desk.database.reading() as conn:
        items = reviewing.queue(conn, desk, status, after, _PAGE + 1)
    page = render(
        "queue.html",
        visitor,
        items=items[:_PAGE],
        next=items[_PAGE - 1].review.id if len(items) > _PAGE else None,
        status=status,
        now=desk.now(),
        flags_of=lambda codes: flag_messages(codes, desk.taxonomy),
    )
    return Response(page, media_type="text/html")


@router.get("/{review_id}")
def get_review(review_id: ReviewId, desk: DeskDep, visitor: Reader) -> Response:
    return _show(desk, visitor, review_id, None, None)


@router.get("/{review_id}/lease")
def get_lease(review_id: ReviewId, desk: DeskDep, visitor: Reader) -> Response:
    """How long it is still held: what the open page asks for anew, so it must not run the model."""
    with desk.database.reading() as conn:
        seen = reviewing.look(conn, desk, review_id, visitor.caller)
    page = render("lease.html", visitor, seen=seen, review=seen.review, now=desk.now())
    return Response(page, media_type="text/html")


@router.post("/{review_id}/claim")
def post_claim(review_id: ReviewId, desk: DeskDep, visitor: Writer) -> Response:
    return _done(
        desk,
        visitor,
        review_id,
        None,
        lambda conn: reviewing.claim(conn, desk, review_id, visitor.caller, None),
    )


@router.post("/{review_id}/release")
def post_release(review_id: ReviewId, desk: DeskDep, visitor: Writer, fence: Number) -> Response:
    return _done(
        desk,
        visitor,
        review_id,
        None,
        lambda conn: reviewing.release(conn, desk, review_id, visitor.caller, fence, None),
        "/review",
    )


@router.post("/{review_id}/judgement")
def post_judgement(
    review_id: ReviewId,
    desk: DeskDep,
    visitor: Writer,
    draft: Annotated[Draft, Depends(drafted)],
    fence: Number,
    version: Number,
) -> Response:
    return _done(
        desk,
        visitor,
        review_id,
        draft,
        lambda conn: reviewing.judge(conn, desk, review_id, visitor.caller, fence, draft.message(), version),
    )


@router.post("/{review_id}/resolve")
def post_resolution(
    review_id: ReviewId,
    desk: DeskDep,
    visitor: Writer,
    draft: Annotated[Draft, Depends(drafted)],
    fence: Number,
    version: Number,
) -> Response:
    def resolve(conn: Connection) -> Seen:
        return reviewing.resolve(
            conn,
            desk,
            review_id,
            visitor.caller,
            fence,
            draft.message(),
            draft.change_reason or None,
            version,
        )

    return _done(desk, visitor, review_id, draft, resolve)


def _done(
    desk: Desk,
    visitor: Visitor,
    review_id: str,
    draft: Draft | None,
    work: Callable[[Connection], Seen],
    target: str | None = None,
) -> Response:
    """See other after success; after a refusal the page as it is now, with what was typed still in it."""
    try:
        with desk.database.transaction() as conn:
            work(conn)
    except (BadInput, Conflict) as error:
        return _show(desk, visitor, review_id, draft, error)
    return RedirectResponse(target or f"/review/{review_id}", 303)


def _show(
    desk: Desk, visitor: Visitor, review_id: str, draft: Draft | None, error: MingbianError | None
) -> Response:
    with desk.database.reading() as conn:
        seen = reviewing.look(conn, desk, review_id, visitor.caller)
    decision = None if seen.decision is None else seen.decision.decision
    hits = () if decision is None else decision.rule_hits
    carrying, precedents, text = reviewing.carrying(desk, seen), reviewing.precedents(desk, seen), seen.text
    page = render(
        "review.html",
        visitor,
        seen=seen,
        review=seen.review,
        order=seen.item.order,
        decision=decision,
        carrying=carrying,
        precedents=precedents,
        title_segments=None if text is None else segments(text.title, "title", hits, carrying),
        content_segments=None if text is None else segments(text.content, "content", hits, carrying),
        grounds=likeliest(decision),
        draft=draft or Draft.of(seen.first),
        error=error,
        now=desk.now(),
        taxonomy=desk.taxonomy,
        name_of=lambda code: name_of(code, desk.taxonomy),
        flags_of=lambda codes: flag_messages(codes, desk.taxonomy),
        ground_of=lambda code: ground_message(code, desk.taxonomy),
        basis_of=lambda policies: basis_of(policies, desk.taxonomy),
    )
    return Response(page, 200 if error is None else failure_of(error).status, media_type="text/html")


def likeliest(decision: Decision | None, group: str = "verdict", count: int = 4) -> list[tuple[str, float]]:
    """The codes of a group that the model found likeliest, with their probabilities."""
    if decision is None or decision.prediction is None:
        return []
    probabilities: Mapping[str, float] = getattr(decision.prediction, group)
    return sorted(probabilities.items(), key=lambda pair: -pair[1])[:count]


def name_of(code: str, taxonomy: Taxonomy) -> str:
    """A code's Chinese name; a code that the taxonomy has lost since is shown as itself."""
    found = coded(code, taxonomy)
    return code if found is None else found.name
