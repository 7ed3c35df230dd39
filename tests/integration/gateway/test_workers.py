"""One gateway of several processes behind one port."""

import os
import re
import signal
import subprocess
from collections.abc import Generator
from pathlib import Path

import httpx
import pytest

from tests.eventually import eventually
from tests.servers.gateway import GatewayServer, gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer

WORKERS = 2
USERS = "/api/collections/users/records"


@pytest.fixture
def gateway(guarded: PocketBaseServer, superuser_token: str, valkey_url: str) -> Generator[GatewayServer]:
    with gateway_server(guarded, valkey_url, {"GATEWAY_WORKERS": str(WORKERS)}) as running:
        yield running


def workers_of(gateway: GatewayServer) -> set[int]:
    pid = gateway.process_id
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def answers(gateway: GatewayServer) -> bool:
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        return (await client.get("/api/health")).status_code == 200


async def test_all_workers_answer_on_one_port_and_one_metrics_page_shows_them_all(gateway: GatewayServer) -> None:
    await eventually(lambda: answers(gateway))

    async def counted() -> set[str]:
        await answers(gateway)
        async with httpx.AsyncClient(base_url=gateway.operations_url, timeout=20) as operator:
            text = (await operator.get("/metrics")).text
        return set(re.findall(r'gateway_requests_total\{[^}]*route="health"[^}]*worker="(\d)"', text))

    await eventually(counted, lambda seen: seen == {"0", "1"}, seconds=20)


async def test_a_session_begun_in_one_worker_is_known_in_every_one(gateway: GatewayServer) -> None:
    await eventually(lambda: answers(gateway))
    async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
        user = await signed_up(client)
    for _ in range(20):
        async with httpx.AsyncClient(base_url=gateway.url, timeout=20) as client:
            assert (await client.get(f"{USERS}/{user.id}", headers=user.headers)).status_code == 200


async def test_a_worker_that_is_killed_is_started_again_while_the_others_answer(gateway: GatewayServer) -> None:
    await eventually(lambda: answers(gateway))
    before = workers_of(gateway)
    assert len(before) == WORKERS
    killed = min(before)
    os.kill(killed, signal.SIGKILL)

    async def after() -> set[int]:
        return workers_of(gateway) - {killed}

    await eventually(after, lambda seen: len(seen) == WORKERS)
    await eventually(lambda: answers(gateway))


async def test_no_worker_outlives_the_first_process(gateway: GatewayServer) -> None:
    await eventually(lambda: answers(gateway))
    workers = workers_of(gateway)
    os.kill(gateway.process_id, signal.SIGKILL)

    async def left() -> set[int]:
        return {worker for worker in workers if not is_dead(worker)}

    await eventually(left, lambda seen: not seen, seconds=20)


def is_dead(pid: int) -> bool:
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return not state.strip() or state.startswith("Z")
