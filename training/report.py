"""The evaluation as one HTML page: the card, the pictures, the worst errors; `training/run.py` calls it."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from html import escape
from pathlib import Path

import numpy as np
from markdown_it import MarkdownIt

from training.evaluate import Scored

_WORST = 10
_PICTURES = (
    ("flags.png", "What a flag costs: look-alikes and real orders"),
    ("reliability.png", "Reliability"),
    ("risk_coverage.png", "Risk and coverage"),
    ("confusion_verdict.png", "Verdicts"),
    ("confusion_kind.png", "Kinds"),
    ("confusion_subject.png", "Subjects"),
)
_STYLE = """
body { font: 16px/1.6 system-ui, "Noto Sans CJK SC", sans-serif; max-width: 60rem; margin: 2rem auto }
table { border-collapse: collapse; margin: 1rem 0 }
td, th { border: 1px solid #bbb; padding: .2rem .6rem; text-align: left }
td:first-child { min-width: 4rem }
img { max-width: 100% }
figure { margin: 1.5rem 0 }
code { background: #f2f2f2 }
"""


def write_report(card: str, scored: Scored, plots: Path) -> str:
    """A page that needs nothing beside it: no script, and its pictures are inside.

    Args:
        card: Markdown, as `write_card` gives it.
        scored: the authored test orders; real ones are never shown.
        plots: folder of the pictures.
    """
    body = MarkdownIt("commonmark").enable("table").render(card)
    pictures = "".join(_picture(plots / name, title) for name, title in _PICTURES)
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        f"<title>Evaluation</title><style>{_STYLE}</style>"
        f"{body}<h2>Pictures</h2>{pictures}<h2>Worst errors on the test regions</h2>"
        "<p>Invented orders, by how sure the model was of the wrong answer.</p>"
        f"{''.join(_errors(scored))}</html>\n"
    )


def _picture(path: Path, title: str) -> str:
    content = base64.b64encode(path.read_bytes()).decode()
    alt = escape(title)
    picture = f'<img alt="{alt}" src="data:image/png;base64,{content}">'
    return f"<figure>{picture}<figcaption>{alt}</figcaption></figure>"


def _errors(scored: Scored) -> Iterator[str]:
    wrong = {
        "Reasonable, held unreasonable": (~scored.unreasonable, -scored.p_unreasonable),
        "Unreasonable, held reasonable": (scored.unreasonable, scored.p_unreasonable),
    }
    for title, (side, order) in wrong.items():
        rows = [row for row in np.argsort(order, kind="stable") if side[row] and not scored.right[row]]
        yield f"<h3>{title}: {len(rows)} of {int(side.sum())}</h3><table>"
        yield "<tr><th>order<th>P(unreasonable)<th>text<th>labelled<th>why</tr>"
        for row in rows[:_WORST]:
            yield _row(scored, int(row))
        yield "</table>"


def _row(scored: Scored, row: int) -> str:
    order = scored.orders[row]
    cells = (
        order.id,
        f"{scored.p_unreasonable[row]:.3f}",
        f"{order.title} | {order.content}",
        order.verdict,
        order.why,
    )
    return f"<tr>{''.join(f'<td>{escape(cell)}' for cell in cells)}</tr>"
