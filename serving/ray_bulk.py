"""Scores rows on many machines through Ray Data; `serving/bulk_command.py` makes it; the only home of ray."""

from __future__ import annotations

import json
import logging
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any, Final

from data.errors import BadInput, Conflict, Unavailable
from data.records import Versions
from data.settings import ROOT
from models.triage import Triage
from serving.bulk import Job, Results, in_order
from serving.record_files import Columns, Record, records
from serving.rescoring import rescored

LOCAL: Final = "local"
_NODE: Final = "ray.io/node-id"  # a label that Ray puts on every machine
# Seconds of work for one lane: far above what handing over a block costs, far below what losing one does.
_BLOCK: Final = 32_768
_CHUNK: Final = 32  # rows that the reader hands on at a time
_OBJECT_STORE: Final = 256 << 20  # bytes for texts on their way, on one machine; blocks are small
# Of the checkout, what workers never read, beside what git ignores; the bundle comes by itself.
_LEFT_OUT: Final = (
    *("/.git", "/tests", "/training", "/notebooks"),
    *("/data/corpus", "/models/bundles", "/models/encoders"),
)


class Workers:
    """Actors that each hold the model; see `Scorer`.

    Only this process reads the input and writes the output, so that nothing has to be shared: the code,
    the model and the texts travel through Ray. Reading is a thousand times faster than the model.
    """

    def __init__(self, job: Job, address: str, workers: int | None, lanes: int) -> None:
        """Joins the cluster at this address, or makes one of this machine: `local`.

        Args:
            workers: how many actors; None: as many as there are cores for.
            lanes: how many texts one actor works on at a time, a core each.

        Raises:
            BadInput: `cluster_too_small` for so many workers.
            Unavailable: ray is not installed, no cluster answers, or the model cannot run.
        """
        self._ray = _ray()
        triage = job.open_triage(job.bundle)
        self._versions = triage.versions
        triage.close()
        try:
            self._join(address, workers, lanes)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise Unavailable("ray_unreachable", f"无法启动或连接 Ray（{type(error).__name__}）。") from error
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(int(node.get("CPU", 0)) // lanes for node in nodes)
        if room < (workers or 1):
            self.close()
            raise BadInput("cluster_too_small", f"集群只容得下 {room} 个各占 {lanes} 核的工作进程。")
        self._lanes = lanes
        self._workers = workers or room

    @property
    def versions(self) -> Versions:
        return self._versions

    def results(self, job: Job, skip: int) -> Results:
        data = self._ray.data
        settings = data.DataContext.get_current()
        settings.execution_options.preserve_order = True
        settings.target_max_block_size = _BLOCK * self._lanes
        settings.enable_progress_bars = False
        settings.print_on_execution_start = False
        bundle = {path.name: path.read_bytes() for path in job.bundle.iterdir()}
        here = self._ray.get_runtime_context().get_node_id()
        # No core is kept for reading, or a machine of which all are given to actors would wait for ever.
        # A need other than the actors' also keeps Ray from reading inside of one of them.
        texts = data.from_items([skip]).map_batches(
            _texts,
            fn_args=(job.source.absolute(), job.columns),
            num_cpus=0,
            label_selector={_NODE: here},
        )
        answers = texts.map_batches(
            _Worker,
            fn_constructor_args=(job, self._ray.put(bundle), self._lanes, self._versions),
            compute=data.ActorPoolStrategy(size=self._workers),
            num_cpus=self._lanes,
        )
        try:
            for block in answers.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
                for line in block.column("result").to_pylist():
                    yield json.loads(line)
        except self._ray.exceptions.RayError as error:
            raise Unavailable(
                "workers_failed", f"Ray 任务失败（{type(error).__name__}），已完成的部分已保留。"
            ) from error

    def close(self) -> None:
        self._ray.shutdown()

    def _join(self, address: str, workers: int | None, lanes: int) -> None:
        common: dict[str, Any] = {
            "include_dashboard": False,
            "log_to_driver": False,
            "logging_level": "ERROR",
        }
        if address == LOCAL:
            cores = None if workers is None else workers * lanes
            self._ray.init(address=LOCAL, num_cpus=cores, object_store_memory=_OBJECT_STORE, **common)
        else:
            code = {"working_dir": str(ROOT), "excludes": list(_LEFT_OUT)}
            self._ray.init(address=address, runtime_env=code, **common)


class _Worker:
    """An actor: opens the triage once and answers block after block."""

    def __init__(self, job: Job, bundle: Any, lanes: int, versions: Versions) -> None:
        files: Mapping[str, bytes] = _ray().get(bundle)
        with tempfile.TemporaryDirectory() as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            self._triage: Triage = job.open_triage(Path(folder))
        if self._triage.versions != versions:
            raise Conflict("worker_differs", "工作进程的规则或分类与本机不同，请统一代码版本。")
        self._text_limit = job.text_limit
        # A triage has a lane for every core of its machine; what calls it bounds how many are busy.
        self._threads = lanes

    def __call__(self, block: Mapping[str, Iterable[str]]) -> dict[str, list[str]]:
        rows = (Record(**json.loads(text)) for text in block["record"])
        results = in_order(lambda row: rescored(row, self._triage, self._text_limit), rows, self._threads)
        return {"result": [json.dumps(result) for result in results]}


def _texts(
    block: Mapping[str, Iterable[int]], source: Path, columns: Columns
) -> Iterator[dict[str, list[str]]]:
    """Every record of the file behind those that the block says to skip, as JSON."""
    for skip in block["item"]:
        rows = records(source, columns, int(skip))
        while chunk := list(islice(rows, _CHUNK)):
            yield {"record": [json.dumps(asdict(row)) for row in chunk]}


def _ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # it would report to its makers
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what it says there is for its makers, too
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise Unavailable("ray_missing", "--ray 需要 Ray，请先执行：pip install -e '.[bulk]'") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=UserWarning, module=r"ray\.")
    return ray
