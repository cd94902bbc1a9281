"""Guards the plan of the house: where things stand, what imports what, and what one file alone may do."""

import ast
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from data.settings import ROOT, Settings

ROOMS = ("data", "models", "training", "serving")
TOP_LEVEL = {
    *ROOMS, *("notebooks", "tests", ".ci"),
    *("pyproject.toml", "constraints.txt", "Makefile", "Dockerfile", "compose.yaml"),
    *("README.md", "README.zh-CN.md", "CHANGELOG.md", "DECISIONS.md", "LICENSE"),
    *(".gitignore", ".gitattributes", ".dockerignore", ".pre-commit-config.yaml"),
}  # fmt: skip
VAGUE = {"util", "utils", "helper", "helpers", "common", "core", "manager", "managers"}
# The kinds of personal data that data/masking.py looks for, a noun each.
PERSONAL_DATA = (
    "data/home_addresses.py",
    "data/lettered_codes.py",
    "data/personal_names.py",
    "data/personal_numbers.py",
)
HOMES = {
    "alembic": ("data/store/",),
    "fastapi": ("serving/",),
    "jinja2": ("serving/pages/",),
    "onnxruntime": ("models/onnx_runtime.py",),
    "onnxruntime.quantization": ("training/",),
    "opencc": ("data/canonical.py",),
    "opentelemetry": ("serving/tracing.py",),
    "openvino": ("models/openvino_runtime.py",),
    "pyarrow": ("serving/parquet.py",),
    "ray": ("serving/ray_bulk.py",),
    "re2": (*PERSONAL_DATA, "models/expression.py"),
    "sklearn": ("training/",),
    "torch": ("training/",),
    "transformers": ("training/",),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


each_source = pytest.mark.parametrize("path", SOURCES, ids=name_of)


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


@cache
def tracked() -> tuple[Path, ...]:
    """What git holds or would take: files it knows and files it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def imported(node: ast.AST) -> Iterator[str]:
    """Dotted names of every absolute import below a node, those of functions included."""
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            yield from (alias.name for alias in found.names)
        elif isinstance(found, ast.ImportFrom) and found.level == 0 and found.module:
            yield from (f"{found.module}.{alias.name}" for alias in found.names)


def callers_of(*methods: str) -> set[str]:
    """Source files that call a method or function of one of these names."""
    return {
        name_of(path)
        for path in SOURCES
        for node in ast.walk(parsed(path))
        if isinstance(node, ast.Call)
        and getattr(node.func, "attr", getattr(node.func, "id", None)) in methods
    }


def importers_of(library: str) -> set[str]:
    return {
        name_of(path)
        for path in SOURCES
        if any(name == library or name.startswith(library + ".") for name in imported(parsed(path)))
    }


def plain(distribution: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def declared(*extras: str) -> set[str]:
    """Distributions that pyproject.toml names for serving, and for these extras."""
    wanted = PROJECT["dependencies"] + [line for e in extras for line in PROJECT["optional-dependencies"][e]]
    return {plain(re.match(r"[A-Za-z0-9._-]+", line)[0]) for line in wanted}


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return {plain(line.split("==")[0]): line.split("==")[1] for line in lines if not line.startswith("#")}


@pytest.mark.parametrize("room", ROOMS)
def test_room_is_this_repository_s_alone(room):
    assert Path(importlib.import_module(room).__file__) == ROOT / room / "__init__.py"
    assert room not in importlib.metadata.packages_distributions()


def test_top_level_holds_only_what_the_plan_names():
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} - TOP_LEVEL == set()


@each_source
def test_file_is_a_noun(path):
    assert path.stem not in ROOMS
    assert VAGUE.isdisjoint(path.stem.split("_"))


@each_source
def test_file_opens_with_one_sentence(path):
    module = parsed(path)
    opening = (ast.get_docstring(module) or "").split("\n\n")[0]
    assert opening.endswith((".", "。")), "no docstring, or its first paragraph is no sentence"
    assert module.body[0].lineno <= 2
    if path.name == "__init__.py":
        assert len(module.body) == 1
        assert not re.search(r"[.。]\s", ast.get_docstring(module)), "one sentence only"


@each_source
def test_file_is_short_enough_to_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def test_layers_hold():
    command = [
        sys.executable,
        "-c",
        "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())",
    ]
    result = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "1 kept" in result.stdout


@pytest.mark.parametrize("library", HOMES)
def test_heavy_library_has_one_home(library):
    homes = tuple(home for name, paths in HOMES.items() if name.startswith(library) for home in paths)
    strangers = {path for path in importers_of(library) if not path.startswith(homes)}
    assert strangers == set()


def test_training_quantises_but_never_runs_the_model_by_itself():
    for path in (ROOT / "training").rglob("*.py"):
        runtime = {name for name in imported(parsed(path)) if name.split(".")[0] == "onnxruntime"}
        tools = ("onnxruntime.quantization", "onnxruntime.transformers")
        assert all(name.startswith(tools) for name in runtime), name_of(path)


def test_metrics_have_one_home():
    assert len(importers_of("prometheus_client")) == 1


@pytest.mark.parametrize(
    ("rooms", "extras"), [(("data", "models", "serving"), ("fast",)), (("training",), ("train",))]
)
def test_what_a_room_imports_is_declared(rooms, extras):
    providers = importlib.metadata.packages_distributions()
    allowed = declared(*extras)
    undeclared = set()
    for path in (path for path in SOURCES if path.relative_to(ROOT).parts[0] in rooms):
        optional = {
            name for node in ast.walk(parsed(path)) if isinstance(node, ast.Try) for name in imported(node)
        }
        for top in {name.split(".")[0] for name in set(imported(parsed(path))) - optional}:
            known = top in sys.stdlib_module_names or top in ROOMS
            if not known and allowed.isdisjoint(plain(name) for name in providers.get(top, [top])):
                undeclared.add(f"{name_of(path)} imports {top}")
    assert undeclared == set()


def test_only_the_database_commits():
    database = {"data/store/database.py"}
    assert callers_of("commit", "begin") == database, "what begin() opens commits on leaving"
    assert {name_of(path) for path in SOURCES if "AUTOCOMMIT" in path.read_text(encoding="utf-8")} <= database
    assert importers_of("sqlite3") | importers_of("pysqlite3") | importers_of("psycopg") <= database, (
        "a driver of its own commits unseen"
    )


def test_settings_are_built_where_a_process_starts():
    assert all(Path(name).name == "__main__.py" for name in callers_of("Settings"))


def test_only_errors_know_error_statuses():
    """Success and redirect codes belong to their routes; what a failure is called over HTTP has one home."""
    knowing = set()
    for path in SOURCES:
        for node in ast.walk(parsed(path)):
            values: list[ast.expr] = []
            if isinstance(node, ast.keyword) and node.arg in ("status", "status_code"):
                values = [node.value]
            elif isinstance(node, ast.Dict):
                status = [
                    v
                    for k, v in zip(node.keys, node.values, strict=True)
                    if getattr(k, "value", 0) == "status"
                ]
                values = [key for key in node.keys if key is not None] + status
            elif isinstance(node, ast.Compare) and getattr(node.left, "attr", None) == "status_code":
                values = node.comparators
            numbers = {v.value for v in values if isinstance(v, ast.Constant) and isinstance(v.value, int)}
            name = getattr(node, "attr", getattr(node, "id", ""))
            if any(400 <= n < 600 for n in numbers) or re.match(r"HTTPException$|HTTP_[45]\d\d_", str(name)):
                knowing.add(name_of(path))
    assert knowing <= {"serving/errors.py"}


def test_settings_are_few_and_documented():
    assert len(Settings.model_fields) < 20
    bare = [name for name, field in Settings.model_fields.items() if not field.description]
    assert bare == [], "each needs a sentence as its description"


def test_tracked_files_name_no_machine_and_no_registry():
    paths = rb"(?<![\w.~-])/(?:work|root|home)/|/opt/(?:pypi|wheels)"
    hosts = rb"\b(?:pypi\.org|pythonhosted\.org|npmjs\.(?:org|com)|deb\.debian\.org|download\.pytorch\.org)"
    hubs = rb"\b(?:docker\.io|ghcr\.io|quay\.io|crates\.io|anaconda\.(?:org|com)|huggingface\.co)"
    pattern = re.compile(paths + b"|" + hosts + b"|" + hubs)
    found = {name_of(path): match[0] for path in tracked() if (match := pattern.search(path.read_bytes()))}
    assert found == {}


def test_git_ignores_what_is_generated_and_nothing_that_ships():
    def ignored(name: str) -> bool:
        return subprocess.run(["git", "check-ignore", "-q", name], check=False, cwd=ROOT).returncode == 0

    assert ignored("var/mingbian.db")
    assert ignored(".venv/bin/python")
    assert not ignored("models/bundles/default/manifest.json")
    assert not ignored("data/corpus/labels/w1.jsonl")


def test_every_direct_dependency_is_pinned():
    assert declared("train", "test", "telemetry", "bulk", "fast") - set(pins()) == set()
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins().values()), (
        "a local build's tag"
    )


def test_commits_are_held_to_the_pinned_tools():
    text = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"repo: (\S+)", text)) == {"local"}, (
        "a hook from elsewhere has a version of its own"
    )
    entries = re.findall(r"entry: (\S+)", text)
    assert entries
    assert all(entry.startswith(".venv/bin/") for entry in entries)
    for tool in ("ruff", "mypy", "import-linter"):
        assert importlib.metadata.version(tool) == pins()[tool]


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_readme_starts_with_the_two_commands(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    blocks = re.findall(r"^```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    commands = [line.split("#")[0].strip() for block in blocks for line in block.splitlines()]
    assert [line for line in commands if line][:2] == ["make serve", "make test"]
    assert text[: text.index("make test")].count("\n") < 30


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=name_of)
def test_notebook_is_kept_without_its_outputs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    for cell in notebook["cells"]:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
