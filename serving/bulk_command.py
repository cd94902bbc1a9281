"""What `python -m serving bulk` takes and says; `serving/__main__.py` calls it."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from data.errors import BadInput

if TYPE_CHECKING:
    from data.settings import Settings
    from serving.bulk import Job, Scorer

INCOMPLETE: Final = 3
INTERRUPTED: Final = 130  # as a shell says of what SIGINT ended

HELP: Final = "re-score a file, deciding nothing 重新研判一个文件"
_DESCRIPTION: Final = """\
用现用的模型和规则重新研判一个文件里的工单，供审计和数据分析使用：结果只写入输出文件，不进数据库，
不对任何市民作出决定，也不触发任何办理。
Re-scores the orders of a file, for auditors and data scientists. Nothing is stored in the
database and nothing is decided about a citizen: the results are rows of OUTPUT and no more."""
_EPILOG: Final = """\
INPUT 和 OUTPUT 按后缀 .jsonl、.csv、.parquet 区分格式，CSV 须为 UTF-8。结果与输入逐行对应、次序相同；
有问题的行写明 problem 和 detail，不中断运行。全部完成后 OUTPUT 才出现；中断后再次执行同一命令即可续跑。
使用 --ray 时只有本机读写文件，代码、模型和文本经 Ray 传给各工作进程（文本可能暂存在 Ray 的临时文件夹）；
各机器须装有相同的 Python 依赖。
退出状态：0 全部由模型研判；3 已完成，但有的行无法研判或由规则代答；1 没有完成；130 被中断。

Formats go by the suffixes .jsonl, .csv and .parquet; CSV is UTF-8. Results stand in the order of the
input, row by row; a bad row says so in `problem` and `detail` and stops nothing. OUTPUT appears when all
is done; after an interruption the same command goes on. With --ray only this machine reads and writes
files: code, model and texts travel through Ray, which may spill texts into its temporary folder; every
machine needs the same Python dependencies.
Exit status: 0 all answered by the model; 3 complete, but rows had problems or the rules answered;
1 not complete; 130 interrupted."""


def describe(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    parser.description, parser.epilog = _DESCRIPTION, _EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("input", metavar="INPUT", type=Path, help="orders 工单")
    add("output", metavar="OUTPUT", type=Path, help="results, a new file 结果，不得已存在")
    add("--id", metavar="COLUMN", default="id", help="the id, kept through 编号列（id）")
    add("--title", metavar="COLUMN", default="title", help="need not be there 标题列，可以没有（title）")
    add("--content", metavar="COLUMN", default="content", help="the text 正文列（content）")
    add("--keep", metavar="COLUMN", action="append", default=[], help="carry through 保留此列，可重复")
    add("--bundle", metavar="FOLDER", type=Path, help="default: the configured one 模型包，默认为设置中的")
    ray = parser.add_argument_group("Ray")
    ray.add_argument("--ray", action="store_true", help="on Ray Data, many machines 在多台机器上运行")
    ray.add_argument("--address", default="local", help="of a cluster, auto: the one here 集群地址（local）")
    ray.add_argument("--workers", metavar="N", type=_positive, help="processes with a model 工作进程数")
    ray.add_argument("--lanes", metavar="N", type=_positive, help="cores of each worker 每个进程的核数")


def execute(parsed: argparse.Namespace, settings: Settings) -> int:
    """The exit status; a summary in Chinese goes to standard output.

    Raises:
        MingbianError: the run did not begin, or cannot end; what is done is kept.
    """
    from serving.bulk import Job, run, summary
    from serving.logs import configure
    from serving.record_files import Columns

    configure("warning")  # somebody watches the bar: what is only good to know would break it
    job = Job(
        source=parsed.input,
        target=parsed.output,
        columns=Columns(parsed.id, parsed.title, parsed.content, tuple(dict.fromkeys(parsed.keep))),
        bundle=parsed.bundle or settings.bundle,
        text_limit=settings.text_limit,
        auto_decline=settings.auto_decline,
        base_rate=settings.base_rate,
    )
    began = time.monotonic()
    scorer = _scorer(parsed, job)
    try:
        tally = run(job, scorer)
    except KeyboardInterrupt:
        print("已中断；再次执行同一命令即可续跑。", file=sys.stderr)
        return INTERRUPTED
    finally:
        scorer.close()
    print(summary(tally, time.monotonic() - began))
    return INCOMPLETE if tally.refused or tally.degraded else 0


def _scorer(parsed: argparse.Namespace, job: Job) -> Scorer:
    if not parsed.ray:
        from serving.bulk import Here

        if parsed.workers or parsed.lanes:
            raise BadInput("ray_only", "--workers 和 --lanes 须与 --ray 一起使用。")
        return Here(job.open_triage(job.bundle))
    from models.lanes import usable_cores
    from serving.ray_bulk import Workers

    return Workers(job, parsed.address, parsed.workers, parsed.lanes or usable_cores())


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number
