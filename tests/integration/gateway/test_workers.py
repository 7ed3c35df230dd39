"""One gateway of several processes behind one port."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Generator

import httpx
import pytest

from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer
from tests.session_client import RECORDS, claims_in, counts_as, refresh, session_in

WORKERS = 2


@pytest.fixture
def gateway(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    """For tests that end parts of it."""
    with gateway_server(guarded, valkey_url, {"GATEWAY_WORKERS": str(WORKERS)}) as running:
        yield running


@pytest.fixture(scope="module")
def lasting(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    with gateway_server(guarded, valkey_url, {"GATEWAY_WORKERS": str(WORKERS)}) as running:
        yield running


async def answers(gateway: GatewayServer) -> bool:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        return (await client.get("/api/health")).status_code == 200


async def test_all_workers_answer_on_one_port_and_one_metrics_page_shows_them_all(lasting: GatewayServer) -> None:
    await eventually(lambda: answers(lasting))

    async def counted() -> set[str]:
        await answers(lasting)
        async with httpx.AsyncClient(base_url=lasting.operations_url, timeout=20) as operator:
            text = (await operator.get("/metrics")).text
        return set(re.findall(r'gateway_requests_total\{[^}]*route="health"[^}]*worker="(\d)"', text))

    await eventually(counted, lambda seen: seen == {"0", "1"}, seconds=20)


async def test_a_session_begun_in_one_worker_is_known_in_every_one(lasting: GatewayServer) -> None:
    await eventually(lambda: answers(lasting))
    async with httpx.AsyncClient(base_url=lasting.url, timeout=20) as client:
        user = await signed_up(client)
    for _ in range(20):
        async with httpx.AsyncClient(base_url=lasting.url, timeout=20) as client:
            assert (await client.get(f"{RECORDS}/{user.id}", headers=user.headers)).status_code == 200


async def test_a_storm_of_refreshes_over_all_workers_makes_one_chain(lasting: GatewayServer) -> None:
    """With the grace of ten seconds, since a storm on a busy machine may last longer than one."""
    await eventually(lambda: answers(lasting))
    async with httpx.AsyncClient(base_url=lasting.url, timeout=20) as client:
        user = await signed_up(client)
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(refresh(client, user.token)) for _ in range(60)]
        refreshes = [task.result() for task in asked]
        assert {answer.status_code for answer in refreshes} == {200}
        tokens = {answer.json()["token"] for answer in refreshes}
        assert {claims_in(token)["gen"] for token in tokens} == {2}
        assert {session_in(token) for token in tokens} == {session_in(user.token)}
        for token in sorted(tokens)[:3]:
            assert await counts_as(client, token, user) == "owner"


async def test_a_worker_that_is_killed_is_started_again_while_the_others_answer(gateway: GatewayServer) -> None:
    await eventually(lambda: answers(gateway))
    before = gateway.workers()
    assert len(before) == WORKERS
    killed = min(before)
    os.kill(killed, signal.SIGKILL)

    async def after() -> set[int]:
        return gateway.workers() - {killed}

    await eventually(after, lambda seen: len(seen) == WORKERS)
    await eventually(lambda: answers(gateway))


async def test_no_worker_outlives_the_first_process(gateway: GatewayServer) -> None:
    await eventually(lambda: answers(gateway))
    workers = gateway.workers()
    os.kill(gateway.process_id, signal.SIGKILL)

    async def left() -> set[int]:
        return {worker for worker in workers if not is_dead(worker)}

    await eventually(left, lambda seen: not seen, seconds=20)


def is_dead(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.strip() or state.startswith("Z")
