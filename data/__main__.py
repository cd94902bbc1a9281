"""`python -m data`: migrations, keys and the audit log's verification, for whoever runs the service."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from data.errors import MingbianError
from data.settings import Settings
from data.store import credentials
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.verification import verify_log

OPERATOR = "operator"

Command = Callable[[argparse.Namespace, Settings], int]


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 1 when something is wrong, which standard error says in Chinese."""
    parsed = _parser().parse_args(arguments)
    command: Command = parsed.command
    try:
        return command(parsed, Settings())
    except MingbianError as error:
        print(f"{error.detail} ({error.code})", file=sys.stderr)
        return 1


def migrate(_parsed: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.database_url)
    try:
        database.migrate()
    finally:
        database.close()
    return 0


def issue_key(parsed: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.database_url)
    try:
        with database.transaction() as conn:
            key_id, plain = credentials.issue(conn, parsed.role, parsed.name, datetime.now(UTC), OPERATOR)
    finally:
        database.close()
    print(f"{key_id}\n{plain}")
    return 0


def bootstrap_keys(_parsed: argparse.Namespace, settings: Settings) -> int:
    """One key per role, printed once: a second start prints nothing."""
    database = Database(settings.database_url)
    now = datetime.now(UTC)
    try:
        with database.transaction() as conn:
            if credentials.issued(conn):
                return 0
            keys = [
                (role, credentials.issue(conn, role, role, now, OPERATOR)[1]) for role in credentials.ROLES
            ]
    finally:
        database.close()
    print("接口密钥，只显示这一次，请妥善保存 API keys, shown only once:")
    for role, plain in keys:
        print(f"  {role:<12} {plain}")
    return 0


def revoke_key(parsed: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.database_url)
    try:
        with database.transaction() as conn:
            credentials.revoke(conn, parsed.id, datetime.now(UTC), OPERATOR)
    finally:
        database.close()
    return 0


def verify_audit(parsed: argparse.Namespace, settings: Settings) -> int:
    held = [path.read_text("utf-8") for path in parsed.checkpoint]
    public_key = Keyring.open(settings.keys).audit_public
    database = Database(settings.database_url)
    try:
        database.check()
        with database.reading() as conn:
            report = verify_log(conn, public_key, settings.log_origin, held)
    finally:
        database.close()
    for finding in report.findings:
        print(f"{finding.code}\t{finding.where}\t{finding.detail}")
    root = "-" if report.root is None else report.root.hex()
    print(f"条目 leaves {report.size}  根 root {root}")
    print(
        f"工单 orders {report.orders}  决定 decisions {report.decisions}  "
        f"检查点 checkpoints {report.checkpoints}"
    )
    print(
        "审计日志完好 the audit log is sound" if report.sound else "审计日志有问题 the audit log is NOT sound"
    )
    return 0 if report.sound else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data", description="数据与审计 data and audit log")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("migrate", help="建立或升级数据库表 create or upgrade the tables")
    command.set_defaults(command=migrate)

    keys = commands.add_parser("keys", help="接口密钥 API keys").add_subparsers(
        required=True, metavar="ACTION"
    )
    command = keys.add_parser("issue", help="签发一个密钥 issue a key, shown once")
    command.add_argument("--role", choices=credentials.ROLES, required=True)
    command.add_argument("--name", required=True, help="持有者名称 whose it is")
    command.set_defaults(command=issue_key)
    command = keys.add_parser("bootstrap", help="尚无密钥时每个角色签发一个 one per role when there is none")
    command.set_defaults(command=bootstrap_keys)
    command = keys.add_parser("revoke", help="吊销一个密钥 revoke a key")
    command.add_argument("id", help="密钥编号 the key's id")
    command.set_defaults(command=revoke_key)

    command = commands.add_parser("verify-audit", help="核验审计日志 verify the audit log")
    command.add_argument(
        "--checkpoint",
        type=Path,
        action="append",
        default=[],
        help="外部留存的检查点 a checkpoint kept elsewhere",
    )
    command.set_defaults(command=verify_audit)
    return parser


if __name__ == "__main__":
    sys.exit(main())
