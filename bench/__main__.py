"""`python -m bench [suite ...]`: measures, prints a table, writes bench/results/<suite>.json."""

import asyncio
import importlib
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from bench.metric import Metric
from bench.programs import NGINX, TRAEFIK, WRK, MissingProgram, Program, check

WIDTH = 150
MET = {True: "yes", False: "no", None: ""}
RESULTS = Path(__file__).parent / "results"
SUITES: dict[str, tuple[str, ...]] = {
    "common": ("tokens", "memory", "rate_limits", "bus"),
    "natsync": ("issue", "sync"),
    "chathub": ("fanout", "live"),
    "gateway": ("cached_reads", "passed_on_reads", "loop_lag"),
    "realtime": ("subscribers", "ten_thousand"),
}
NEEDED: dict[str, tuple[Program, ...]] = {"gateway": (WRK, NGINX, TRAEFIK)}


async def run(suite: str) -> list[Metric]:
    """Each part in turn, never two at once: they would measure each other."""
    metrics: list[Metric] = []
    for part in SUITES[suite]:
        Console(stderr=True).print(f"{suite}: {part} ...")
        metrics += await importlib.import_module(f"bench.{suite}.{part}").measure()
    return metrics


def machine() -> dict[str, object]:
    """`load` is what waited for the processor in the last minute, without us: figures of a busy machine say less."""
    return {
        "cpus": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 2),
    }


def write(suite: str, metrics: Sequence[Metric], where: dict[str, object]) -> Path:
    document = {
        "suite": suite,
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": where,
        "metrics": {
            metric.name: {key: value for key, value in asdict(metric).items() if key not in ("name", "bar")}
            for metric in metrics
        },
    }
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{suite}.json"
    file.write_text(json.dumps(document, indent=2) + "\n")
    return file


def table(suite: str, metrics: Sequence[Metric]) -> Table:
    drawn = Table(Column("metric", no_wrap=True), "ours", "peer's", "unit", "peer", "ratio", "bar", "met", title=suite)
    for metric in metrics:
        figures = [f"{figure:,.4g}" for figure in (metric.value, metric.peer_value)]
        drawn.add_row(
            metric.name,
            *figures,
            metric.unit,
            metric.peer,
            f"{metric.ratio:,.2f}",
            metric.bar,
            MET[metric.meets_its_bar()],
        )
    return drawn


def main(suites: Sequence[str]) -> None:
    if unknown := [suite for suite in suites if suite not in SUITES]:
        sys.exit(f"bench: no suite {', '.join(unknown)}; there are: {', '.join(SUITES)}")
    chosen = suites or tuple(SUITES)
    try:
        check(program for suite in chosen for program in NEEDED.get(suite, ()))
    except MissingProgram as missing:
        sys.exit(f"bench: {missing}")
    for suite in chosen:
        where = machine()
        metrics = asyncio.run(run(suite))
        Console(width=WIDTH).print(table(suite, metrics))
        print(write(suite, metrics, where))


if __name__ == "__main__":
    main(sys.argv[1:])
