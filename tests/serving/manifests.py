"""What runs the service, as its tests read it: compose.yaml, the Dockerfile and a cluster's manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from data.settings import ROOT

OPERATIONS = ROOT / "serving" / "operations"
KUBERNETES = OPERATIONS / "kubernetes"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DRAIN_S = int(
    re.findall(r"timeout_graceful_shutdown=(\d+)", (ROOT / "serving" / "__main__.py").read_text("utf-8"))[0]
)
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
PORT = int(re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)[0])
IMAGE_ENVIRONMENT = dict(re.findall(r"(MINGBIAN_[A-Z_]+)=(\S+)", DOCKERFILE))


def manifests() -> list[dict[str, Any]]:
    """Everything that kustomization.yaml applies."""
    listed = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text("utf-8"))["resources"]
    return [item for name in listed for item in yaml.safe_load_all((KUBERNETES / name).read_text("utf-8"))]


def the(kind: str) -> dict[str, Any]:
    (found,) = [item for item in manifests() if item["kind"] == kind]
    return found


def pods() -> list[dict[str, Any]]:
    return [the("Deployment")["spec"]["template"]["spec"], the("Job")["spec"]["template"]["spec"]]


def containers() -> list[dict[str, Any]]:
    return [found for pod in pods() for found in pod["containers"] + pod.get("initContainers", [])]


def server() -> dict[str, Any]:
    (found,) = pods()[0]["containers"]
    return found


def in_comments(path: Path, beginning: str) -> str:
    """The shell commands that a file's comments give, from the one that begins so to the end of the block."""
    lines = [line.removeprefix("#") for line in path.read_text("utf-8").splitlines()]
    first = next(index for index, line in enumerate(lines) if line.strip().startswith(beginning))
    block = []
    for line in lines[first:]:
        if not line.startswith("   "):
            break
        block.append(line.strip())
    return "\n".join(block)


def of_files(*suffixes: str) -> Iterator[Path]:
    yield ROOT / "compose.yaml"
    yield from (path for path in sorted(OPERATIONS.rglob("*")) if path.suffix in suffixes)
