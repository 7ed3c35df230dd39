"""Whatever is read of random worlds through a gateway of two workers, from memory or not, is what PocketBase says."""

import json
from collections import Counter
from collections.abc import Generator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.differences import canonical, where_they_differ
from tests.direct_pocketbase import Answer, asking
from tests.random_reads import Asked, random_read
from tests.random_worlds import random_world
from tests.servers.gateway import gateway_server
from tests.servers.natsync import CALM, running_stack
from tests.thorough import takes_its_time, worlds
from tests.worker_connections import worker_connections
from tests.world_stage import WORKERS, Caller, Stage, staged

READS = 8
CHANGES = 4
SHOWN = ("apples", "pears", "plums", "apples", "pears", "plums", "users", "teams", "scene")
LIMITED = ("default", "list", "view", "create", "update", "delete")


@pytest.fixture(scope="module")
def stage(valkey_url: str) -> Generator[Stage]:
    with ExitStack() as running:
        stack = running.enter_context(running_stack(**CALM))
        pocketbase = running.enter_context(asking(stack.pocketbase))
        environment = {
            "NATS_URL": stack.nats_url,
            "GATEWAY_NATS_CREDS": str(stack.directory / "creds" / "gateway.creds"),
            "GATEWAY_WORKERS": str(WORKERS),
            "GATEWAY_RATE_LIMITS": json.dumps({name: {"limit": 1_000_000, "every": 60_000} for name in LIMITED}),
        }
        gateway = running.enter_context(gateway_server(stack.pocketbase, valkey_url, environment))
        connections = running.enter_context(worker_connections(gateway, workers=WORKERS))
        yield running.enter_context(staged(pocketbase, connections))


@takes_its_time
def test_every_read_is_answered_as_pocketbase_answers_it_cold_and_warm_whatever_was_changed(stage: Stage) -> None:
    answered: Counter[str] = Counter()

    @given(seed=st.integers(0, 2**48))
    @worlds(3)
    def holds(seed: int) -> None:
        world = random_world(seed)
        stage.set_up(world)
        reads = [random_read(world, SHOWN) for _ in range(READS)]
        changed = "a new world"
        for _ in range(CHANGES):
            for asked in reads:
                for caller in stage.callers:
                    answered.update(compared(stage, asked, caller, changed))
            changed = stage.change(world)
        answered["worlds"] += 1

    try:
        holds()
    finally:
        print(dict(answered))  # noqa: T201 - figures of a thorough run
    assert answered["HIT"] > answered["MISS"] > answered["worlds"]


def compared(stage: Stage, asked: Asked, caller: Caller, changed: str) -> Counter[str]:
    """Where the answers came from. Raises AssertionError with all that is known of a difference."""
    direct = stage.ask_directly(asked, caller)
    outcomes: Counter[str] = Counter({"reads": 1, f"status {direct.status}": 1})
    for number, worker in enumerate(stage.workers):
        for turn in ("first", "again"):
            answer = stage.ask(worker, asked, caller)
            outcomes[answer.cache] += 1
            assert seen(asked, answer) == seen(asked, direct), (
                f"{turn} at worker {number} ({answer.cache}), after {changed}: {asked} by {caller.collection}/"
                f"{caller.record_id}\nPocketBase: {direct.status}, the gateway: {answer.status}\n"
                + where_they_differ(direct.json, answer.json)
            )
    return outcomes


def seen(asked: Asked, answer: Answer) -> tuple[int, str]:
    """Of what is in no order at all only how much it is."""
    told = answer.json
    if "random" in asked.query and "items" in told:
        told["items"] = len(told["items"])
    return answer.status, canonical(told)
