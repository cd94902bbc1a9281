"""What runs a bundle's graph: OpenVINO where a self-test found it alike and faster, else ONNX Runtime.

`models/triage.py` calls it when a model is opened.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from logging import getLogger
from pathlib import Path
from typing import Final

from models.bundle import Bundle
from models.graph_runtime import GraphRuntime
from models.onnx_runtime import OnnxRuntime
from models.self_test import PATIENCE_S, Verdict, packed

log = getLogger(__name__)

_ROOT: Final = Path(__file__).resolve().parent.parent
_CPUS: Final = Path("/proc/cpuinfo")
_TESTED: Final = ("self_test.py", "openvino_runtime.py", "onnx_runtime.py", "reference/self_test.txt")
_UNENDED: Final = Verdict(False, "an earlier self-test did not end")


def choose_runtime(bundle: Bundle, lanes: int, cache: Path | None) -> GraphRuntime:
    """The runtime that serves best here; ONNX Runtime whenever there is any doubt.

    OpenVINO is an extra: who does not install it never waits for a test of it.

    Args:
        lanes: how many texts run at a time.
        cache: the folder that remembers verdicts, so that a restart costs nothing; a removed file is
            a verdict forgotten. None: ONNX Runtime, and nothing is tested.

    Raises:
        Exception: whatever ONNX Runtime raises on a graph it cannot run.
    """
    installed = _installed()
    if cache is None or installed is None:
        runtime: GraphRuntime = OnnxRuntime(bundle.graph)
        log.info("the model runs on %s", runtime.name)
        return runtime
    verdict = _verdict(bundle, lanes, installed, cache)
    runtime = (_openvino(bundle, lanes) if verdict.fast else None) or OnnxRuntime(bundle.graph)
    log.info("the model runs on %s; of OpenVINO: %s", runtime.name, verdict.reason)
    return runtime


def _installed() -> str | None:
    """OpenVINO's version."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None


def _openvino(bundle: Bundle, lanes: int) -> GraphRuntime | None:
    try:
        from models.openvino_runtime import OpenvinoRuntime

        return OpenvinoRuntime(bundle.graph, lanes)
    except Exception:
        log.exception("OpenVINO passed its self-test and cannot start")
        return None


def _verdict(bundle: Bundle, lanes: int, installed: str, cache: Path) -> Verdict:
    """As remembered, or else of a test that is made now."""
    facts = _facts(bundle, lanes, installed)
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    file = cache / f".fast-path-{digest[:16]}.json"
    known = _remembered(file, facts)
    if known is not None:
        return known
    # First, since a container that runs out of memory ends as a whole: it would test again at every start.
    _remember(file, facts, _UNENDED)
    verdict = _tested(bundle, lanes)
    _remember(file, facts, verdict)
    return verdict


def _tested(bundle: Bundle, lanes: int) -> Verdict:
    """What the child process says, or what became of it: it may do anything but take this process along."""
    command = [sys.executable, "-m", "models.self_test"]
    try:
        done = subprocess.run(  # noqa: S603 - our own module, on bytes that were verified
            command,
            input=packed(bundle, lanes),
            cwd=_ROOT,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Verdict(False, f"its self-test took more than {PATIENCE_S:.0f} s")
    except OSError as error:
        return Verdict(False, f"its self-test did not start ({type(error).__name__})")
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return Verdict(False, f"its self-test ended with status {done.returncode} {' '.join(said)}".rstrip())
    try:
        return _read(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError, KeyError, TypeError):
        return Verdict(False, "its self-test said nothing")


def _facts(bundle: Bundle, lanes: int, installed: str) -> dict[str, object]:
    """All that a verdict depends on."""
    sources = b"".join((_ROOT / "models" / name).read_bytes() for name in _TESTED)
    return {
        "sources": hashlib.sha256(sources).hexdigest(),
        "bundle": bundle.digest,
        "lanes": lanes,
        "processor": _processor(),
        "onnxruntime": version("onnxruntime"),
        "openvino": installed,
    }


def _processor(cpus: Path = _CPUS) -> str:
    """Its name and what it can do: virtual machines give one name to processors of many kinds."""
    try:
        first = cpus.read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except (OSError, ValueError):
        return platform.processor() or platform.machine()
    told = [line for line in first if line.startswith(("model name", "flags", "CPU part", "Features"))]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


def _remembered(file: Path, facts: dict[str, object]) -> Verdict | None:
    """None where there is nothing, or nothing that can be trusted to be whole."""
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        return _read(kept["verdict"]) if kept["facts"] == facts else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(told: dict[str, object]) -> Verdict:
    fast, reason = told["fast"], told["reason"]
    if not isinstance(fast, bool) or not isinstance(reason, str):
        raise TypeError
    return Verdict(fast, reason)


def _remember(file: Path, facts: dict[str, object], verdict: Verdict) -> None:
    fresh = file.with_suffix(".new")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps({"facts": facts, "verdict": asdict(verdict)}), encoding="utf-8")
        fresh.replace(file)
    except OSError as error:
        log.warning("a verdict on OpenVINO is not kept: %s", type(error).__name__)
