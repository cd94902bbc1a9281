"""`python -m data`: migrations, backups, keys, the audit log and the corpus, for operators and trainers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from data.corpus.card import CARD, tables, with_tables
from data.corpus.labels import LABELS, read_folder
from data.corpus.snapshot import PARTS, Split, freeze
from data.errors import BadInput, MingbianError
from data.settings import ROOT, Settings
from data.store import credentials
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.verification import verify_log
from data.taxonomy import load_taxonomy

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
        for fault in error.faults if isinstance(error, BadInput) else ():
            print(f"  {fault.pointer}\t{fault.detail}", file=sys.stderr)
        return 1


def migrate(_parsed: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.database_url)
    try:
        database.migrate()
    finally:
        database.close()
    return 0


def back_up(parsed: argparse.Namespace, settings: Settings) -> int:
    database = Database(settings.database_url)
    try:
        database.check()
        database.backup(parsed.file)
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
    try:
        held = [path.read_text("utf-8") for path in parsed.checkpoint]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput("checkpoint_unreadable", "检查点文件无法读取。") from error
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


def make_snapshot(parsed: argparse.Namespace, _settings: Settings) -> int:
    taxonomy = load_taxonomy()
    split = Split(**{part: tuple(getattr(parsed, part)) for part in PARTS})
    manifest = freeze(read_folder(taxonomy, parsed.labels), split, parsed.out, taxonomy)
    for name, file in manifest.files.items():
        regions = " ".join(f"{region}={count}" for region, count in file.regions.items())
        print(f"{name:<18} {file.orders:>6}  {regions}")
    for near in manifest.near_duplicates:
        print(f"近似 near-duplicate {near.first} {near.second} {near.similarity / 10_000:.1f}%")
    print(f"剔除 dropped from train {len(manifest.dropped)}  {manifest.digest}")
    return 0


def count_card(_parsed: argparse.Namespace, _settings: Settings) -> int:
    taxonomy = load_taxonomy()
    card = CARD.read_text("utf-8")
    counted = with_tables(card, tables(read_folder(taxonomy), taxonomy))
    if counted != card:
        CARD.write_text(counted, "utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m data", description="数据与审计 data and audit log")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("migrate", help="建立或升级数据库表 create or upgrade the tables")
    command.set_defaults(command=migrate)

    command = commands.add_parser(
        "backup", help="备份 SQLite 数据库，服务可照常运行 copy an SQLite database, servers running"
    )
    command.add_argument("file", type=Path, help="备份文件，不得已存在 the copy, a new file")
    command.set_defaults(command=back_up)

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

    command = commands.add_parser("snapshot", help="冻结训练数据快照 freeze a data set, split by region")
    command.add_argument("out", type=Path, nargs="?", default=ROOT / "var" / "snapshot", help="文件夹 folder")
    command.add_argument("--labels", type=Path, default=LABELS, help="标注文件夹 folder of labels")
    for part in PARTS:
        command.add_argument(
            f"--{part}", nargs="+", default=getattr(Split(), part), metavar="REGION", help="地区 regions"
        )
    command.set_defaults(command=make_snapshot)

    corpus = commands.add_parser("corpus", help="标注语料 labelled orders").add_subparsers(
        required=True, metavar="ACTION"
    )
    command = corpus.add_parser("card", help="重新统计数据说明中的表格 recount the card's tables")
    command.set_defaults(command=count_card)
    return parser


if __name__ == "__main__":
    sys.exit(main())
