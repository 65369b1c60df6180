"""The table of figures, and how to take a median."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field


def medians_ms(work: Callable[[], object], *, runs: int, warm_up: int = 1) -> float:
    """Median time of ``work`` in milliseconds."""
    for _ in range(warm_up):
        work()
    taken = []
    for _ in range(runs):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1000


def paired_ms(one: Callable[[], object], other: Callable[[], object], *, runs: int) -> tuple[float, float]:
    """Medians of two kinds of work done in turn, so that a machine that slows down slows both."""
    taken: tuple[list[float], list[float]] = ([], [])
    one()
    other()
    for _ in range(runs):
        for times, work in zip(taken, (one, other), strict=True):
            begin = time.perf_counter()
            work()
            times.append(time.perf_counter() - begin)
    return statistics.median(taken[0]) * 1000, statistics.median(taken[1]) * 1000


@dataclass
class Table:
    """Rows of name, figure, goal and baseline."""

    rows: list[tuple[str, str, str, str]] = field(default_factory=list)

    def add(self, name: str, figure: str, goal: str = "", baseline: str = "") -> None:
        """Add a row, and print it at once: a long run should show that it goes on."""
        self.rows.append((name, figure, goal, baseline))
        print(f"{name:58} {figure:>22}   goal {goal or '-':14}   baseline {baseline or '-'}", flush=True)

    def markdown(self) -> str:
        """The table for the README."""
        lines = ["| figure (median) | measured | at most | baseline of the same run |", "|---|---|---|---|"]
        return "\n".join(lines + [f"| {' | '.join(row)} |" for row in self.rows])
