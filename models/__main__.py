"""`python -m models`: triage a file of orders; check, promote and take back bundles."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import BadInput, MingbianError
from data.records import Decision
from data.settings import Settings
from data.store import promotions
from data.store.database import Database
from data.store.promotions import Instruction
from data.taxonomy import load_taxonomy
from models.bundle import read_bundle
from models.encoder_classifier import EncoderClassifier
from models.registry import Registry
from models.triage import open_triage


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models", description="Triage orders and inspect bundles."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    classify = commands.add_parser("classify", help="triage a JSONL file on the one path (批量研判)")
    classify.add_argument("input", type=Path, help="rows {id, title?, content}")
    classify.add_argument("output", type=Path)
    classify.add_argument("--bundle", type=Path, help="default: the configured bundle")
    check = commands.add_parser("check", help="verify a bundle and run it once (校验模型包)")
    check.add_argument("--bundle", type=Path, help="default: the configured bundle")
    promote = commands.add_parser("promote", help="put a bundle in force (启用模型)")
    promote.add_argument("bundle", type=Path, help="folder of the bundle")
    back = commands.add_parser("rollback", help="put an earlier bundle back in force (退回模型)")
    back.add_argument("--to", metavar="DIGEST", help="default: the one before")
    for command in (promote, back):
        command.add_argument("--who", required=True, help="by whose word")
        command.add_argument("--why", required=True)
    commands.add_parser("list", help="which bundles were in force, and why (启用历史)")
    chosen = parser.parse_args(arguments)
    settings = Settings()
    try:
        match chosen.command:
            case "check":
                return _check(chosen.bundle or settings.bundle)
            case "classify":
                return _classify(chosen.bundle or settings.bundle, settings, chosen.input, chosen.output)
            case _:
                return _registry(chosen, settings)
    except MingbianError as error:
        print(f"{error.code}: {error.detail}", file=sys.stderr)
        return 1


def _registry(chosen: argparse.Namespace, settings: Settings) -> int:
    """Servers on the same database follow within seconds, without dropping a request."""
    taxonomy = load_taxonomy()
    database = Database(settings.database_url)
    try:
        database.check()
        if chosen.command == "list":
            with database.reading() as conn:
                for past in promotions.history(conn):
                    print(
                        f"{past.at.isoformat()} {past.action} {past.digest} {past.name} {past.who} {past.why}"
                    )
            return 0
        registry = Registry(settings.promoted, settings.bundle)
        instruction = Instruction(chosen.who, chosen.why, datetime.now(UTC))
        with database.transaction() as conn:
            if chosen.command == "promote":
                made = registry.promote(conn, chosen.bundle, taxonomy, instruction)
            else:
                made = registry.roll_back(conn, taxonomy, instruction, chosen.to)
    finally:
        database.close()
    print(made.digest)
    return 0


def _check(folder: Path) -> int:
    bundle = read_bundle(folder, load_taxonomy())
    EncoderClassifier(bundle).warm_up()
    print(json.dumps({"name": bundle.name, "digest": bundle.digest, "versions": bundle.versions}, indent=1))
    return 0


def _classify(folder: Path, settings: Settings, source: Path, target: Path) -> int:
    """No deadline here: a file waits for nobody, and its answers must not depend on the machine's load."""
    triage = open_triage(folder, auto_decline=settings.auto_decline, base_rate=settings.base_rate)
    if triage.missing is not None:
        print(f"warning: {triage.missing}: the rules answer", file=sys.stderr)
    count = 0
    # Moved into place whole, so that a run that was cut off leaves no half answer.
    fresh = target.with_name(target.name + ".part")
    try:
        with fresh.open("w", encoding="utf-8") as lines:
            for row in _rows(source):
                decision = triage.decide(row.get("title") or "", row["content"], datetime.now(UTC))
                lines.write(json.dumps({"id": row["id"], **answer(decision)}) + "\n")
                count += 1
                if count % 200 == 0:
                    print(f"\r{count}", end="", file=sys.stderr, flush=True)
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)
        triage.close()
    print(f"\r{count} orders", file=sys.stderr)
    return 0


def answer(decision: Decision) -> dict[str, Any]:
    """One row of `classify`: `ground` is the likeliest ground even where the verdict is reasonable."""
    prediction = decision.prediction
    return {
        "p_unreasonable": decision.p_unreasonable,
        "verdict": decision.verdict,
        "ground": decision.ground if prediction is None else prediction.likeliest_ground,
        "kind": decision.kind,
        "subject": decision.subject,
        "flags": list(decision.flags),
        "disposition": decision.disposition,
        "review_reasons": list(decision.review_reasons),
    }


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The row of each line that is not blank.

    Raises:
        BadInput: a line is not an object with `id` and textual `content`, or the file is not UTF-8 text.
    """
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _row(number, line)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("file_unreadable", f"输入文件读不出来（{type(error).__name__}）。") from error


def _row(number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise BadInput("row_invalid", f"第 {number} 行不是 JSON。") from error
    if not isinstance(row, dict) or "id" not in row or not isinstance(row.get("content"), str):
        raise BadInput("row_invalid", f"第 {number} 行缺少 id 或文字 content。")
    if not isinstance(row.get("title") or "", str):
        raise BadInput("row_invalid", f"第 {number} 行的 title 不是文字。")
    return row


if __name__ == "__main__":
    sys.exit(main())
