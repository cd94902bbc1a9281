#!/usr/bin/env python3
"""Checks one order's exported audit entries without the service or any of its code; run by outsiders.

    python offline_verifier.py EXPORT.json --key PUBLIC.pem [--checkpoint NOTE.txt [--consistency PROOF.json]]

EXPORT.json is the answer of GET /v1/audit/orders/{id}/export; PUBLIC.pem the log's public key, got by
another way than the export; NOTE.txt a checkpoint kept since earlier; PROOF.json the answer of
GET /v1/audit/consistency between the two sizes, when they differ. Needs Python 3.9 and `cryptography`.
Leaves say what was recorded and when the log says so; they cannot say that nothing was left out before
the first checkpoint that anybody kept.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


class Refused(Exception):
    """A check that failed; the text says why, for people."""


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def root_of_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion path leads to (RFC 9162, 2.1.3), by recursion from the top."""
    if size == 1:
        if path:
            raise Refused("路径过长 path too long")
        return leaf
    if not path:
        raise Refused("路径过短 path too short")
    split = 1
    while split * 2 < size:
        split *= 2
    if index < split:
        return sha256(b"\x01", root_of_path(leaf, index, split, path[:-1]), path[-1])
    return sha256(b"\x01", path[-1], root_of_path(leaf, index - split, size - split, path[:-1]))


def roots_of_consistency(
    old: int, new: int, old_root: bytes, path: list[bytes], whole: bool
) -> tuple[bytes, bytes]:
    """The old and the new root that a consistency path leads to (RFC 9162, 2.1.4), from the top."""
    if old == new:
        if whole:
            if path:
                raise Refused("路径过长 path too long")
            return old_root, old_root
        if len(path) != 1:
            raise Refused("路径长度不符 path has the wrong length")
        return path[0], path[0]
    if not path:
        raise Refused("路径过短 path too short")
    split = 1
    while split * 2 < new:
        split *= 2
    if old <= split:
        from_old, from_new = roots_of_consistency(old, split, old_root, path[:-1], whole)
        return from_old, sha256(b"\x01", from_new, path[-1])
    from_old, from_new = roots_of_consistency(old - split, new - split, old_root, path[:-1], False)
    return sha256(b"\x01", path[-1], from_old), sha256(b"\x01", path[-1], from_new)


def read_checkpoint(note: str, origin: str, key: Ed25519PublicKey) -> tuple[int, bytes]:
    """Size and root of a C2SP checkpoint, once its signature by this key is verified."""
    text, gap, signatures = note.rpartition("\n\n")
    lines = text.split("\n")
    if not gap or len(lines) < 3:
        raise Refused("检查点格式不正确 malformed checkpoint")
    if lines[0] != origin:
        raise Refused("检查点不属于该日志 the checkpoint is of another log")
    key_hash = sha256(origin.encode(), b"\n\x01", key.public_bytes_raw())[:4]
    for line in signatures.split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, encoded = rest.partition(" ")
        if dash != "\u2014" or name != origin:
            continue
        raw = base64.b64decode(encoded, validate=True)
        if raw[:4] == key_hash:
            try:
                key.verify(raw[4:], (text + "\n").encode())
            except InvalidSignature:
                raise Refused("签名无效 the signature is wrong") from None
            return int(lines[1]), base64.b64decode(lines[2], validate=True)
    raise Refused("没有该公钥的签名 no signature by this key")


def check_entry(entry: dict[str, Any], size: int, root: bytes) -> dict[str, Any]:
    """What the leaf says, once it is proven to be in the log at the place it names."""
    leaf = entry["leaf"].encode("utf-8")
    content: dict[str, Any] = json.loads(leaf)
    again = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    if again.encode("utf-8") != leaf:
        raise Refused("不是规范 JSON the leaf is not canonical JSON")
    index = entry["index"]
    if content["index"] != index or not 0 <= index < size:
        raise Refused("序号不符 the index differs")
    path = [bytes.fromhex(node) for node in entry["path"]]
    if root_of_path(sha256(b"\x00", leaf), index, size, path) != root:
        raise Refused("不在该检查点的日志中 not in the log that the checkpoint signs")
    return content


def check_story(contents: list[dict[str, Any]]) -> None:
    """One order, in order, received first and decided after."""
    if len({content["subject"] for content in contents}) != 1:
        raise Refused("涉及多个工单 more than one order")
    indexes = [content["index"] for content in contents]
    if indexes != sorted(set(indexes)):
        raise Refused("次序不符 entries out of order")
    events = [content["event"] for content in contents]
    if events[0] != "order.received" or "order.decided" not in events:
        raise Refused("缺少受理或决定记录 not received first, or never decided")


def check_held(held: tuple[int, bytes], exported: tuple[int, bytes], proof: dict[str, Any] | None) -> None:
    """The log of the smaller checkpoint is the beginning of the log of the larger one."""
    (old, old_root), (new, new_root) = sorted((held, exported))
    if old == new:
        if old_root != new_root:
            raise Refused("同一长度而内容不同，日志已分叉 same size, other content: the log has been forked")
        return
    if old == 0:
        return
    if proof is None:
        raise Refused(f"长度不同，请用 --consistency 提供 {old} 至 {new} 的一致性证明 a proof is needed")
    if (proof["old"], proof["new"]) != (old, new):
        raise Refused(f"一致性证明应为 {old} 至 {new} the proof is for other sizes")
    path = [bytes.fromhex(node) for node in proof["path"]]
    if roots_of_consistency(old, new, old_root, path, True) != (old_root, new_root):
        raise Refused("日志历史已被改写 the history has been rewritten")


def verify(
    export: dict[str, Any], key: Ed25519PublicKey, held: str | None, proof: dict[str, Any] | None
) -> bool:
    """Prints one line for each check; whether all passed."""
    checks = _Checks()
    origin = export["origin"]
    exported = checks.run(
        "检查点签名 checkpoint signature", read_checkpoint, export["checkpoint"], origin, key
    )
    if exported is not None:
        contents = []
        for entry in export["entries"]:
            name = f"条目 entry {entry.get('index')}"
            content = checks.run(name, check_entry, entry, *exported)
            if content is not None:
                contents.append(content)
        if len(contents) == len(export["entries"]):
            checks.run("工单经过 the order's story", check_story, contents)
        if held is not None:
            earlier = checks.run(
                "留存检查点签名 held checkpoint signature", read_checkpoint, held, origin, key
            )
            if earlier is not None:
                checks.run("与留存检查点一致 consistency with it", check_held, earlier, exported, proof)
    print("全部通过 all checks passed" if checks.passed else "未通过 FAILED")
    return checks.passed


class _Checks:
    def __init__(self) -> None:
        self.passed = True

    def run(self, name: str, check: Any, *arguments: Any) -> Any:
        try:
            result = check(*arguments)
        except Refused as reason:
            return self._fail(name, str(reason))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError):
            return self._fail(name, "文件格式不正确 malformed file")
        event = f" {result['event']}" if isinstance(result, dict) else ""
        print(f"通过 OK    {name}{event}")
        return result

    def _fail(self, name: str, reason: str) -> None:
        self.passed = False
        print(f"失败 FAIL  {name}: {reason}")


def main(options: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description="离线核验工单审计记录 verify an order's audit entries offline"
    )
    parser.add_argument("export", type=Path, help="导出文件 the export (JSON)")
    parser.add_argument("--key", type=Path, required=True, help="审计公钥 the log's public key (PEM)")
    parser.add_argument("--checkpoint", type=Path, help="留存的检查点 a checkpoint kept since earlier")
    parser.add_argument("--consistency", type=Path, help="一致性证明 the proof between the two (JSON)")
    arguments = parser.parse_args(options)
    try:
        key = load_pem_public_key(arguments.key.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise ValueError("not an Ed25519 key")
        export = json.loads(arguments.export.read_text("utf-8"))
        held = arguments.checkpoint.read_text("utf-8") if arguments.checkpoint else None
        proof = json.loads(arguments.consistency.read_text("utf-8")) if arguments.consistency else None
        passed = verify(export, key, held, proof)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        print("失败 FAIL  文件无法读取或格式不正确 a file cannot be read or is malformed")
        return 1
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
