"""Reads the Dockerfile as its engine would, and runs what it copies where nothing else is."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data.settings import ROOT, Settings

# Imports every module below the folder given first, and reports what that did besides.
PROBE = """
import importlib, os, pathlib, sys

root = pathlib.Path(sys.argv[1])
sys.path.insert(0, str(root))
acts = []
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
ACTS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "sqlite3.connect",
        "socket.connect", "socket.bind", "subprocess.Popen", "os.fork", "os.posix_spawn")

def watch(event, args):
    if event in ACTS or (event == "open" and isinstance(args[2], int) and args[2] & WRITING):
        acts.append(f"{event} {args[:2]}")

def refuse(self, **values):
    raise AssertionError("Settings were built by an import")

sys.addaudithook(watch)
from data.settings import Settings
Settings.__init__ = refuse
for path in sorted(root.rglob("*.py")):
    if "migrations" in path.parts:
        continue  # scripts that Alembic runs, not modules that anyone imports
    name = ".".join(path.relative_to(root).with_suffix("").parts)
    importlib.import_module(name.removesuffix(".__init__"))
for name in ("torch", "transformers", "sklearn", "pandas", "matplotlib", "training"):
    if name in sys.modules:
        acts.append(f"import {name}")
print("\\n".join(acts))
"""


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile as (instruction, arguments), comments dropped and continued lines joined."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in joined.splitlines() if line.strip()
    ]


def last_stage() -> list[tuple[str, str]]:
    every = instructions()
    starts = [index for index, (name, _) in enumerate(every) if name == "FROM"]
    assert len(starts) > 1, "one stage would ship its build tools"
    return every[starts[-1] :]


def copied(stage: list[tuple[str, str]]) -> list[str]:
    """What is copied from the checkout, by name; copies from another stage are left out."""
    arguments = [rest.split() for name, rest in stage if name in ("COPY", "ADD") and "--from=" not in rest]
    return [source for words in arguments for source in words[:-1]]


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    """The checkout's part of the image, laid out in a folder of its own."""
    folder = tmp_path_factory.mktemp("image")
    skipped = shutil.ignore_patterns("__pycache__", "labels")
    for source in copied(last_stage()):
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, folder / source, ignore=skipped)
        else:
            shutil.copy(ROOT / source, folder / source)
    return folder


def test_copies_exist_and_pass_the_ignore_file():
    admitted = re.findall(
        r"^!(\S+)$", (ROOT / ".dockerignore").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    sources = copied(instructions())
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert source in admitted


def test_image_serves_and_does_nothing_else():
    assert set(copied(last_stage())) == {"LICENSE", "data", "models", "serving"}
    installs = [rest for name, rest in instructions() if name == "RUN" and "pip install" in rest]
    assert installs
    assert all("-c constraints.txt" in rest and "[" not in rest for rest in installs), "an extra came along"


def test_image_runs_without_root_and_migrates_only_when_told():
    stage = last_stage()
    users = [rest for name, rest in stage if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1]), (
        "a numeric user lets an orchestrator see it is not root"
    )
    after = stage[stage.index(("USER", users[-1])) :]
    assert {"VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"} <= {name for name, _ in after}
    assert not any("migrate" in rest for name, rest in stage if name in ("RUN", "ENTRYPOINT", "CMD"))


def test_image_s_environment_is_the_settings_own(monkeypatch):
    words = [pair for name, rest in last_stage() if name == "ENV" for pair in rest.split()]
    ours = dict(pair.split("=", 1) for pair in words if pair.startswith("MINGBIAN_"))
    assert {name.removeprefix("MINGBIAN_").lower() for name in ours} <= set(Settings.model_fields)
    for name in [name for name in os.environ if name.startswith("MINGBIAN_")]:
        monkeypatch.delenv(name)
    for name, value in ours.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.host == "0.0.0.0"
    assert settings.keys.is_relative_to("/var/lib/mingbian")
    assert settings.database_url == "sqlite:////var/lib/mingbian/mingbian.db"
    health = next(rest for name, rest in last_stage() if name == "HEALTHCHECK")
    assert f"127.0.0.1:{settings.port}/livez" in health
    assert ("EXPOSE", str(settings.port)) in last_stage()


def test_importing_any_module_does_nothing(image, tmp_path):
    """Every module of the image, with an empty environment, in a folder that cannot be written to."""
    tmp_path.chmod(0o555)
    command = [sys.executable, "-B", "-W", "error::ResourceWarning", "-c", PROBE, str(image)]
    result = subprocess.run(command, check=False, cwd=tmp_path, env={}, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == ""
    assert list(tmp_path.iterdir()) == []
    assert list(image.rglob("__pycache__")) == []
