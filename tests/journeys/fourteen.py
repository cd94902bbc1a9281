"""Posts the seven situations and their twins and prints what became of each.

    python -m tests.journeys.fourteen http://127.0.0.1:8000 mb_…

The key is one of the role intake; each run sends new order numbers.
"""

from __future__ import annotations

import sys
import uuid
from typing import Any

import httpx

from tests.journeys.situations import INSULTED, SELF_HARM, SITUATIONS

Row = tuple[str, str, dict[str, Any]]


def triaged(client: httpx.Client) -> list[Row]:
    """(situation, what it was written to be, decision) for all fourteen, then the two to be protected."""
    run = uuid.uuid4().hex[:12]
    texts = [
        (situation.name, meant, text)
        for situation in SITUATIONS
        for meant, text in ((situation.ground, situation.unreasonable), ("reasonable", situation.reasonable))
    ]
    texts += [("受辱 insulted caller", "protected", INSULTED), ("轻生 self-harm", "protected", SELF_HARM)]
    rows = []
    for number, (name, meant, text) in enumerate(texts, start=1):
        body = {"source": "fourteen", "number": f"{run}-{number:02}", "content": text}
        response = client.post("/v1/orders", json=body)
        response.raise_for_status()
        rows.append((name, meant, response.json()))
    return rows


def table(rows: list[Row]) -> str:
    """One line for each order."""
    lines = [f"{'meant':<22}{'verdict':<14}{'ground':<22}{'p':>7}  {'disposition':<12}{'flags':<26}situation"]
    for name, meant, decision in rows:
        p = decision["p_unreasonable"]
        lines.append(
            f"{meant:<22}{decision['verdict']:<14}{(decision['ground'] or {}).get('code', '-'):<22}"
            f"{'rules' if p is None else f'{p:.4f}':>7}  {decision['disposition']:<12}"
            f"{','.join(flag['code'] for flag in decision['flags']) or '-':<26}{name}"
        )
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    if len(arguments) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    url, key = arguments
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as client:
        print(table(triaged(client)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
