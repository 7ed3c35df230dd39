"""One message to 1,000 clients: deliveries for each second of the processor, and the same with 16 messages at once.

Every way of telling is a process of its own with a crowd of its own, and all take their turns in every round. Only the
time of the process that tells counts; on loopback that includes what the kernel does to receive.
"""

import statistics
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.chathub.senders import WAYS
from bench.metric import Metric
from tests.asked_process import Asked, running

CLIENTS = 1000
MESSAGES = 60
BURST = 16
BURSTS = 20
ROUNDS = 5


class LostDeliveries(Exception):
    """Figures of what did not arrive would be of something else."""


@dataclass(frozen=True, slots=True)
class Stage:
    sender: Asked
    crowd: Asked

    def rate(self, messages: int, at_once: int) -> float:
        told = self.sender.ask(f"{messages} {at_once}")
        heard = self.crowd.ask(f"bytes {told['bytes']}")
        if heard["bytes"] != told["bytes"]:
            raise LostDeliveries(f"{told} {heard}")
        return told["deliveries"] / told["cpu_seconds"]


@contextmanager
def stage(way: str) -> Generator[Stage]:
    with (
        running("bench.chathub.senders", way) as sender,
        running("tests.chat_crowd", sender.line(), str(CLIENTS), "-") as crowd,
    ):
        assert crowd.line() == "ready"
        yield Stage(sender, crowd)


async def measure() -> list[Metric]:
    with ExitStack() as running_stages:
        stages = {way: running_stages.enter_context(stage(way)) for way in WAYS}
        for one in stages.values():
            one.rate(BURST, 1)
        rounds = [one_round(stages) for _ in range(ROUNDS)]
    return metrics(rounds)


def one_round(stages: dict[str, Stage]) -> dict[str, float]:
    singles = {way: one.rate(MESSAGES, 1) for way, one in stages.items()}
    return {**singles, "burst": stages["hub"].rate(BURST * BURSTS, BURST)}


def metrics(rounds: list[dict[str, float]]) -> list[Metric]:
    def beside(name: str, peer: str, says: str, bar: str, ours: str = "hub") -> Metric:
        mine, theirs = (statistics.median(figures[who] for figures in rounds) for who in (ours, peer))
        ratio = statistics.median(figures[ours] / figures[peer] for figures in rounds)
        return Metric(name, mine, "deliveries/CPU-s", f"{says}, {CLIENTS} clients", theirs, ratio, bar)

    return [
        beside("fanout_vs_websockets_broadcast", "broadcast", "websockets.broadcast", ">= 1.7"),
        beside("fanout_vs_bare_write", "write", "bare transport.write", ">= 0.75"),
        beside("fanout_vs_fastapi_send_json", "send_json", "FastAPI send_json", ""),
        beside("burst_vs_single", "hub", f"one at a time; ours {BURST} at once", ">= 8", ours="burst"),
    ]
