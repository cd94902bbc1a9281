"""A released model folder: written by training, verified byte for byte before anything in it is used."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rfc8785
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from data.errors import BadInput, NotFound
from data.records import Thresholds
from data.taxonomy import Taxonomy

FORMAT = 2
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
GRAPH, NGRAMS, PRECEDENTS, TOKENIZER, SETTINGS, CERTIFICATE, CARD, PUBLIC_RECORD = (
    "model.onnx",
    "ngrams.npz",
    "precedents.npz",
    "tokenizer.json",
    "settings.json",
    "certificate.json",
    "CARD.md",
    "RECORD.zh-CN.md",
)
PUBLISHERS = Path(__file__).resolve().parent / "reference" / "publishers.toml"


@dataclass(frozen=True, slots=True)
class Bundle:
    """One verified model: its files' bytes, already checked against the digest.

    `digest` is the SHA-256 of the manifest, which holds the SHA-256 of every file and the versions of
    taxonomy, rules, canonicaliser and masking that the model was made with. `label_groups` name the
    slices of the model's logits in order, before those of the flags; `temperatures` divide them.
    `base_rate` is the share of unreasonable orders that its probabilities were calibrated at. `ngrams`
    is the second opinion, empty where the encoder decides alone; `ngram_weights` say how much it counts.
    `precedents` are the orders that a reviewer is shown beside a decision; empty where there are none.
    """

    name: str
    digest: str
    graph: bytes
    tokenizer: str
    label_groups: Mapping[str, tuple[str, ...]]
    base_rate: float
    temperatures: Mapping[str, float]
    max_tokens: int
    thresholds: Thresholds
    certificate: Mapping[str, Any]
    certificate_digest: str
    versions: Mapping[str, str]
    card: str
    ngrams: bytes = b""
    ngram_weights: Mapping[str, float] = field(default_factory=dict)
    precedents: bytes = b""


def write_bundle(
    folder: Path,
    name: str,
    files: Mapping[str, bytes],
    versions: Mapping[str, str],
    signer: Ed25519PrivateKey,
) -> str:
    """Write files, manifest and signature to `folder`, in place of the bundle it may hold; return the digest.

    The new bundle is whole before it takes the old one's place.

    Raises:
        BadInput: the folder holds something else, which is left as it is.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / MANIFEST).exists():
        raise BadInput("bundle_folder_taken", "目标文件夹里有别的东西，不是模型包；请换一个文件夹。")
    manifest = rfc8785.dumps(
        {
            "format": FORMAT,
            "name": name,
            "versions": dict(versions),
            "files": {
                path: {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
                for path, content in files.items()
            },
        }
    )
    signature = {
        "publisher": public_text(signer.public_key()),
        "signature": base64.b64encode(signer.sign(manifest)).decode(),
    }
    fresh, stale = (folder.with_name(f".{folder.name}.{word}") for word in ("new", "old"))
    for leftover in (fresh, stale):
        shutil.rmtree(leftover, ignore_errors=True)
    fresh.mkdir(parents=True)
    for path, content in files.items():
        (fresh / path).write_bytes(content)
    (fresh / SIGNATURE).write_text(json.dumps(signature, indent=1) + "\n", encoding="utf-8")
    (fresh / MANIFEST).write_bytes(manifest)
    if folder.exists():
        folder.rename(stale)
    fresh.rename(folder)
    shutil.rmtree(stale, ignore_errors=True)
    return _digest(manifest)


def read_bundle(folder: Path, taxonomy: Taxonomy, publishers: Path = PUBLISHERS) -> Bundle:
    """Read and verify a bundle; every byte used later is a byte checked here.

    Raises:
        NotFound: there is no bundle in the folder.
        BadInput: `bundle_corrupt` when a file is missing, surplus or differs from the manifest, the
            signature is not by a known publisher, or the labels are not the taxonomy's.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
    except OSError as error:
        raise NotFound("bundle_missing", "没有找到模型包。") from error
    try:
        _check_signature(manifest, (folder / SIGNATURE).read_bytes(), publishers)
        described = json.loads(manifest)
        if described["format"] != FORMAT:
            raise _corrupt("清单格式版本不认识")
        files = {path: _checked(folder, path, facts) for path, facts in described["files"].items()}
        surplus = {path.name for path in folder.iterdir()} - set(files) - {MANIFEST, SIGNATURE}
        if surplus:
            raise _corrupt("有清单之外的文件")
        settings = json.loads(files[SETTINGS])
        certificate = json.loads(files[CERTIFICATE])
        bundle = Bundle(
            name=described["name"],
            digest=_digest(manifest),
            graph=files[GRAPH],
            tokenizer=files[TOKENIZER].decode(),
            label_groups={group: tuple(codes) for group, codes in settings["label_groups"].items()},
            base_rate=settings["base_rate"],
            temperatures=settings["temperatures"],
            max_tokens=settings["max_tokens"],
            thresholds=Thresholds(
                certificate["decline"]["threshold"],
                certificate["dispatch"]["threshold"],
                settings["flag_thresholds"],
            ),
            certificate=certificate,
            certificate_digest=_digest(files[CERTIFICATE]),
            versions=described["versions"],
            card=files[CARD].decode(),
            ngrams=files.get(NGRAMS, b""),
            ngram_weights=settings.get("ngram_weights", {}),
            precedents=files.get(PRECEDENTS, b""),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _corrupt(f"读取失败（{type(error).__name__}）") from error
    if dict(bundle.label_groups) != taxonomy.groups or tuple(bundle.thresholds.flags) != taxonomy.flag_codes:
        raise _corrupt("标签与现行分类表不一致")
    return bundle


def public_text(key: Ed25519PublicKey) -> str:
    """A public key as publishers.toml writes it: base64 of the 32 raw bytes."""
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _check_signature(manifest: bytes, signature: bytes, publishers: Path) -> None:
    """The signer must be one whom the repository trusts: a key that comes with the bundle proves nothing."""
    signed = json.loads(signature)
    known = tomllib.loads(publishers.read_text(encoding="utf-8"))["publishers"]
    if signed["publisher"] not in {publisher["key"] for publisher in known}:
        raise _corrupt("签名者不在可信发布者名单中")
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(signed["publisher"], validate=True))
    try:
        key.verify(base64.b64decode(signed["signature"], validate=True), manifest)
    except InvalidSignature as error:
        raise _corrupt("清单签名不符") from error


def _checked(folder: Path, path: str, facts: Mapping[str, Any]) -> bytes:
    if Path(path).name != path:
        raise _corrupt("清单中的文件名越出目录")
    content = (folder / path).read_bytes()
    if len(content) != facts["size"] or hashlib.sha256(content).hexdigest() != facts["sha256"]:
        raise _corrupt(f"文件 {path} 与清单不符")
    return content


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _corrupt(what: str) -> BadInput:
    return BadInput("bundle_corrupt", f"模型包不可用：{what}。")
