from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from data.taxonomy import Taxonomy
from models import fast_path
from models.bundle import Bundle, read_bundle
from models.fast_path import choose_runtime
from models.onnx_runtime import OnnxRuntime
from models.self_test import Verdict
from tests.models import tiny_bundle

# OpenVINO as far as it is used, over ONNX Runtime; `MISDEED` is done in each inference, `LOADED` once.
FAKE = """
import os, sys, time
import numpy as np
import onnxruntime

TESTED = "self_test" in getattr(sys.modules["__main__"].__spec__, "name", "")

class Core:
    def read_model(self, graph):
        return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def compile_model(self, model, device, settings):
        LOADED
        return Compiled(model)

class Compiled:
    def __init__(self, model):
        self.model = model

    def create_infer_request(self):
        return self

    def infer(self, inputs):
        assert inputs["input_ids"].shape[1] % 16 == 0
        kept = int(inputs["attention_mask"].sum())
        (scores,) = self.model.run(["logits"], {name: values[:, :kept] for name, values in inputs.items()})
        MISDEED
        return {"logits": scores}
"""
SLOWED = """
        if TESTED:
            from models.onnx_runtime import OnnxRuntime
            plain = OnnxRuntime.scores
            OnnxRuntime.scores = lambda *asked: time.sleep(0.01) or plain(*asked)
"""
Installed = Callable[..., None]


@pytest.fixture
def tiny(tmp_path: Path, taxonomy: Taxonomy) -> Bundle:
    publishers = tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    return read_bundle(tmp_path / "bundle", taxonomy, publishers)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """Puts a library of that name in front of a real one, for this process and the self-test's."""

    def ours() -> list[str]:
        return [name for name in sys.modules if name.split(".")[0] == "openvino" or "openvino_" in name]

    def install(misdeed: str = "pass", loaded: str = "pass") -> None:
        folder = tmp_path / "library"
        (folder / "openvino").mkdir(parents=True)
        (folder / "openvino-9.9.dist-info").mkdir()
        about = "Metadata-Version: 2.1\nName: openvino\nVersion: 9.9\n"
        (folder / "openvino-9.9.dist-info" / "METADATA").write_text(about)
        text = FAKE.replace("MISDEED", misdeed).replace("LOADED", loaded)
        (folder / "openvino" / "__init__.py").write_text(text)
        monkeypatch.syspath_prepend(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))

    kept = {name: sys.modules.pop(name) for name in ours()}
    yield install
    for name in ours():
        del sys.modules[name]
    sys.modules.update(kept)


@pytest.fixture
def told(installed: Installed, monkeypatch: pytest.MonkeyPatch) -> list[Verdict]:
    """What the self-tests to come will say, in turn."""
    installed()
    verdicts = [Verdict(False, "slower")]
    monkeypatch.setattr(fast_path, "_tested", lambda *_: verdicts.pop(0))
    return verdicts


def remembered(cache: Path) -> list[Verdict]:
    return [
        Verdict(**json.loads(file.read_text())["verdict"]) for file in sorted(cache.glob(".fast-path-*.json"))
    ]


def test_who_does_not_install_it_waits_for_no_test(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(fast_path, "version", missing)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a child was started"))
    assert isinstance(choose_runtime(tiny, 2, tmp_path / "cache"), OnnxRuntime)
    assert not (tmp_path / "cache").exists()


def test_without_a_place_to_remember_it_nothing_is_tested(
    tiny: Bundle, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed()
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("a child was started"))
    assert isinstance(choose_runtime(tiny, 2, None), OnnxRuntime)


def test_what_is_faster_and_alike_serves(tiny: Bundle, tmp_path: Path, installed: Installed) -> None:
    installed(loaded=SLOWED)
    chosen = choose_runtime(tiny, 2, tmp_path / "cache")
    assert chosen.name == "openvino 9.9"
    ids, segments = [2, 11, 12, 13, 3], [0, 0, 0, 1, 1]
    assert chosen.scores(ids, segments).tolist() == OnnxRuntime(tiny.graph).scores(ids, segments).tolist()
    (verdict,) = remembered(tmp_path / "cache")
    assert verdict.fast


@pytest.mark.parametrize(
    ("misdeed", "reason"),
    [
        ("time.sleep(0.01)", "times as fast as onnxruntime"),
        ("scores += np.arange(scores.size, dtype=np.float32)", "a probability differs"),
        ("scores[:] = np.nan", "NonFinite"),
        ("os.abort()", "ended with status -6"),
        ("os.kill(os.getpid(), 9)", "ended with status -9"),
        ("raise RuntimeError('no such kernel')", "no such kernel"),
        ("os._exit(0)", "said nothing"),
        ("print('loading'); os._exit(0)", "said nothing"),
    ],
)
def test_whatever_else_it_does_onnx_runtime_serves(
    misdeed: str,
    reason: str,
    tiny: Bundle,
    tmp_path: Path,
    installed: Installed,
    caplog: pytest.LogCaptureFixture,
) -> None:
    installed(misdeed)
    with caplog.at_level("INFO", "models.fast_path"):
        assert isinstance(choose_runtime(tiny, 2, tmp_path / "cache"), OnnxRuntime)
    assert reason in caplog.text
    (verdict,) = remembered(tmp_path / "cache")
    assert not verdict.fast
    assert reason in verdict.reason


def test_what_hangs_is_not_waited_for(
    tiny: Bundle, tmp_path: Path, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed("time.sleep(600)")
    monkeypatch.setattr(fast_path, "PATIENCE_S", 2.0)
    assert isinstance(choose_runtime(tiny, 2, tmp_path / "cache"), OnnxRuntime)
    assert remembered(tmp_path / "cache") == [Verdict(False, "its self-test took more than 2 s")]


def test_what_passed_and_then_cannot_start_is_replaced(
    tiny: Bundle, tmp_path: Path, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(loaded="raise MemoryError")
    monkeypatch.setattr(fast_path, "_tested", lambda *_: Verdict(True, "1.50 times as fast"))
    assert isinstance(choose_runtime(tiny, 2, tmp_path), OnnxRuntime)


def test_a_restart_tests_nothing(tiny: Bundle, tmp_path: Path, told: list[Verdict]) -> None:
    for _ in range(3):
        assert isinstance(choose_runtime(tiny, 2, tmp_path / "cache"), OnnxRuntime)
    assert told == []
    assert remembered(tmp_path / "cache") == [Verdict(False, "slower")]


def test_another_bundle_library_processor_width_or_test_is_tested_anew(
    tiny: Bundle, tmp_path: Path, told: list[Verdict], monkeypatch: pytest.MonkeyPatch
) -> None:
    told *= 6
    choose_runtime(tiny, 2, tmp_path / "cache")
    choose_runtime(tiny, 3, tmp_path / "cache")
    choose_runtime(replace(tiny, digest="sha256:another"), 2, tmp_path / "cache")
    monkeypatch.setattr(fast_path, "_processor", lambda: "another")
    choose_runtime(tiny, 2, tmp_path / "cache")
    monkeypatch.setattr(fast_path, "version", lambda library: "10.0")
    choose_runtime(tiny, 2, tmp_path / "cache")
    monkeypatch.setattr(fast_path, "_TESTED", ("fast_path.py",))
    choose_runtime(tiny, 2, tmp_path / "cache")
    assert told == []
    assert len(remembered(tmp_path / "cache")) == 6


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-10],
        lambda text: "[]",
        lambda text: text.replace("false", '"yes"'),
        lambda text: text.replace('"lanes": 2', '"lanes": 4'),
        lambda text: text.replace('"reason"', '"because"'),
        lambda text: "\ud800".encode("utf-8", "surrogatepass").decode("latin-1"),
    ],
)
def test_a_damaged_verdict_is_none(
    damage: Callable[[str], str], tiny: Bundle, tmp_path: Path, told: list[Verdict]
) -> None:
    told.append(Verdict(False, "as before"))
    choose_runtime(tiny, 2, tmp_path / "cache")
    (file,) = (tmp_path / "cache").iterdir()
    file.write_bytes(damage(file.read_text()).encode("latin-1"))
    choose_runtime(tiny, 2, tmp_path / "cache")
    assert told == []
    assert remembered(tmp_path / "cache") == [Verdict(False, "as before")]


def test_a_test_that_took_the_service_along_is_not_repeated(
    tiny: Bundle, tmp_path: Path, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> Verdict:
        raise SystemExit

    installed()
    monkeypatch.setattr(fast_path, "_tested", killed)
    with pytest.raises(SystemExit):
        choose_runtime(tiny, 2, tmp_path / "cache")
    assert isinstance(choose_runtime(tiny, 2, tmp_path / "cache"), OnnxRuntime)


def test_a_verdict_that_cannot_be_kept_still_counts(
    tiny: Bundle, tmp_path: Path, told: list[Verdict], caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "taken").write_text("a file")
    assert isinstance(choose_runtime(tiny, 2, tmp_path / "taken" / "cache"), OnnxRuntime)
    assert told == []
    assert "is not kept" in caplog.text


def test_processors_of_one_name_differ_by_what_they_can_do(tmp_path: Path) -> None:
    def processor(flags: str) -> str:
        cpus = tmp_path / "cpuinfo"
        cpus.write_text(
            f"model name\t: EPYC\ncpu MHz\t: {len(flags)}\nflags\t\t: avx2{flags}\n\nprocessor\t: 1\n"
        )
        return fast_path._processor(cpus)

    assert processor("") == processor("")
    assert processor("") != processor(" avx512_vnni")
    assert fast_path._processor(tmp_path / "none")
