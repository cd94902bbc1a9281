"""One interleaved run of all contenders: closed loops, then open loops at rates all reach; the bench asks."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from tests.benchmarks.contenders import Absent, Contender, Running
from tests.benchmarks.load import Figures, closed_loop, open_loop
from tests.benchmarks.probe import probe, strays, worth_another_run
from tests.benchmarks.process_tree import Memory
from tests.benchmarks.texts import Texts

CONNECTIONS = 8
WARM_UP_S = 3.0
RAMP_S = 1.0
RERUNS = 2
# Offered loads as shares of what the slowest contender answers at most. At the first two all of them are
# compared, in every round; the rest are for the picture, once.
COMPARED = (0.5, 0.8)
SWEPT = (0.25, 1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0)
# A contender is asked for little more than it can answer: far above, its queue only grows with the seconds.
BEYOND = 1.25


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement: `offered` is the rate of an open loop, None in the closed loop."""

    contender: str
    turn: int
    offered: float | None


@dataclass(frozen=True, slots=True)
class Measured:
    """`cpu` is the seconds of processor time one request took; `probe` the slower one beside the cell."""

    figures: Figures
    cpu: float
    probe: float


@dataclass(frozen=True, slots=True)
class Visit:
    """One start of a contender, measured after its load."""

    cold_start: float
    memory: Memory


@dataclass(slots=True)
class Comparison:
    """Runs once; its fields hold what it measured. `absent` maps names to reasons, `rerun` lists cells."""

    contenders: Sequence[Contender]
    texts: Texts
    seconds: float
    rounds: int
    cells: dict[Cell, Measured] = field(default_factory=dict)
    visits: dict[str, list[Visit]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    rerun: list[Cell] = field(default_factory=list)
    compared: tuple[float, ...] = ()

    def run(self) -> None:
        for contender in self.contenders:
            try:
                contender.prepare()
            except Absent as reason:
                self.absent[contender.name] = str(reason)
        for turn in range(self.rounds):
            for contender in self._in_turn(turn):
                self._visit(contender, [Cell(contender.name, turn, None)])
        for contender in self.present():
            if self.saturation(contender.name) == 0:
                self.absent[contender.name] = "it answered nothing"
        slowest = min(self.saturation(contender.name) for contender in self.present())
        self.compared = tuple(round(slowest * share, 1) for share in COMPARED)
        for turn in range(self.rounds):
            for contender in self._in_turn(turn):
                offered = [*self.compared, *(self._swept(contender.name, slowest) if turn == 0 else ())]
                self._visit(contender, [Cell(contender.name, turn, rate) for rate in sorted(offered)])
        self._run_strays_again()

    def present(self) -> list[Contender]:
        return [contender for contender in self.contenders if contender.name not in self.absent]

    def saturation(self, name: str) -> float:
        """Answers a second in the closed loop, the median of the rounds."""
        return median(measured.figures.rate for measured in self.of(name, None))

    def of(self, name: str, offered: float | None) -> list[Measured]:
        """By round."""
        return [
            measured
            for cell, measured in sorted(self.cells.items(), key=lambda item: item[0].turn)
            if (cell.contender, cell.offered) == (name, offered)
        ]

    def strays(self) -> list[Cell]:
        """Cells of present contenders that were measured while the machine ran at another speed."""
        return strays(self._probes())

    def _probes(self) -> dict[Cell, float]:
        names = {contender.name for contender in self.present()}
        return {cell: seen.probe for cell, seen in self.cells.items() if cell.contender in names}

    def _swept(self, name: str, slowest: float) -> list[float]:
        rates = (round(slowest * share, 1) for share in SWEPT)
        return [rate for rate in rates if rate <= BEYOND * self.saturation(name)]

    def _in_turn(self, turn: int) -> Iterable[Contender]:
        """Everyone once; each round begins with another, so that nobody is always the first."""
        present = self.present()
        first = turn % len(present)
        return [*present[first:], *present[:first]]

    def _run_strays_again(self) -> None:
        for _ in range(RERUNS):
            again = worth_another_run(self._probes())
            self.rerun += again
            for contender in self.present():
                if cells := [cell for cell in again if cell.contender == contender.name]:
                    self._visit(contender, cells)

    def _visit(self, contender: Contender, cells: Sequence[Cell]) -> None:
        """Only the contender that is measured runs, and it is warm when measuring begins."""
        try:
            with (
                tempfile.TemporaryDirectory(prefix="mingbian-bench-") as folder,
                contender.running(self.texts, Path(folder)) as running,
            ):
                closed_loop(running.target, CONNECTIONS, WARM_UP_S, ramp=0)
                for cell in cells:
                    self.cells[cell] = self._measure(running, cell)
                visit = Visit(running.cold_start, running.tree.memory())
                if visit.memory.rss == 0:
                    raise Absent("it ended under the load")
        except Absent as reason:
            self.absent[contender.name] = str(reason)
        else:
            self.visits.setdefault(contender.name, []).append(visit)

    def _measure(self, running: Running, cell: Cell) -> Measured:
        before = probe()
        spent = running.tree.cpu_seconds()
        if cell.offered is None:
            figures = closed_loop(running.target, CONNECTIONS, self.seconds, RAMP_S)
        else:
            # The same arrivals for everyone in a round.
            figures = open_loop(running.target, cell.offered, self.seconds, seed=cell.turn)
        spent = running.tree.cpu_seconds() - spent
        measured = Measured(figures, spent / max(1, figures.asked), max(before, probe()))
        offered = "as fast as it can" if cell.offered is None else f"{cell.offered:g}/s offered"
        print(
            f"  {cell.contender:<12} round {cell.turn + 1}, {offered}: {figures.rate:.1f}/s,"
            f" p99 {figures.p99 * 1000:.0f} ms, {figures.failed} failed",
            flush=True,
        )
        return measured
