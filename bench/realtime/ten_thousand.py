"""10,000 clients, guests and five users, on two workers: how soon one write reaches all of them, and what they take."""

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from bench.gateway.load import descends
from bench.metric import Metric
from bench.realtime.stage import PUBLIC, Stage, crowd, open_stage

CLIENTS = 10_000
WRITES = 5
KIBIBYTE = 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
SETTLE_SECONDS = 2.0
POCKETBASE = "PocketBase"
ESTABLISHED = "01"
NATSYNC = 2
"""Its realtime connections, which are there before the crowd: the record feed's, and one for its own rows."""


@dataclass(frozen=True, slots=True)
class Figures:
    seconds: float
    kib_a_client: float
    upstream: int


async def measure() -> list[Metric]:
    async with open_stage() as stage:
        guests_and_users = ["", *(caller.gateway_token for caller in stage.callers)]
        ours = await figures(stage, stage.gateway.url, guests_and_users, stage.gateway.process_id)
        guests_and_users = ["", *(caller.pocketbase_token for caller in stage.callers)]
        peer = await figures(stage, stage.pocketbase.url, guests_and_users, stage.pocketbase.process_id)
    return [
        metric("fanout_10000_s", ours.seconds, "s", peer.seconds, bar="value <= 2"),
        metric("kib_per_client", ours.kib_a_client, "KiB", peer.kib_a_client, bar="value <= 25"),
        metric("upstream_connections", ours.upstream, "streams", CLIENTS + NATSYNC, bar="value <= 8"),
    ]


async def figures(stage: Stage, url: str, tokens: Sequence[str], process_id: int) -> Figures:
    before, connected_before = resident_bytes(process_id), connections_to(stage)
    async with crowd(url, CLIENTS, f"{PUBLIC}/*", tokens) as listening:
        await asyncio.sleep(SETTLE_SECONDS)
        a_client = (resident_bytes(process_id) - before) / CLIENTS / KIBIBYTE
        took: list[float] = []
        for index in range(WRITES):
            begun = time.monotonic()
            await stage.write(PUBLIC, index)
            _, last = await listening.heard(CLIENTS)
            took.append(last - begun)
        return Figures(max(took), a_client, connections_to(stage) - connected_before + NATSYNC)


def connections_to(stage: Stage) -> int:
    """TCP connections that PocketBase has accepted, whatever they are for, by proc_pid_net_tcp(5)."""
    at = f":{urlsplit(stage.pocketbase.url).port:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[1].endswith(at) and row[3] == ESTABLISHED for row in rows)


def resident_bytes(root: int) -> int:
    """Of a process and all that descend from it, by proc_pid_statm(5); what they share is counted for each."""
    parents = {int(folder.name): parent_of(folder) for folder in Path("/proc").glob("[0-9]*")}
    found = [id for id in parents if descends(id, root, parents)]
    return sum(int(Path(f"/proc/{id}/statm").read_text().split()[1]) * PAGE_BYTES for id in found)


def parent_of(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return 0


def metric(name: str, ours: float, unit: str, peer: float, *, bar: str) -> Metric:
    return Metric(name, ours, unit, POCKETBASE, peer, ours / peer, bar=bar)
