"""What a pass costs over a thousand accounts and ten thousand users, and how long one change takes among them.

First sync: the server knows nobody. Every account is told, then looked up, as a pass does; beside it the same tokens
are told to a server of the same configuration, and nothing is looked up. Restart: nothing has changed, and the pass
finds that out; beside it the same things are read and nothing is done with them.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence

import httpx
from nats.aio.client import Client

from bench.metric import Metric
from bench.natsync.site import ACCOUNTS, USERS_EACH, Site, open_site
from common.adapters.pocketbase import PAGE, records_path
from common.core import subjects
from common.serving.logs import configure
from natsync.adapters.pocketbase_rows import KEYS, READ_IN_ORDER
from natsync.commands import leading
from tests.eventually import eventually
from tests.servers.natsync import connected_with

ROUNDS = 3
BARE_AT_ONCE = 64
CHANGES = 21
PB_NATS_DEBOUNCE_MS = 3_000.0
QUEUE = "natsync_queue"


async def measure() -> list[Metric]:
    configure("bench", level="ERROR")
    async with open_site() as site:
        pushed = await first_sync(site)  # there is one first time
        pushes = [(pushed, await bare_updates(site)) for _ in range(ROUNDS)]
        with site.stack.nats():
            restarts = [(await restart(site), await bare_reads(site)) for _ in range(ROUNDS + 1)][1:]
            with site.stack.serving():
                usable, gone = await changes(site)
    each = f"{ACCOUNTS} accounts, {ACCOUNTS * USERS_EACH} users"
    bare = f"nats-py, {BARE_AT_ONCE} CLAIMS.UPDATE at once"
    reads = "PACK by nats-py, listings by httpx"
    debounce = "pb-nats: its debounce alone"
    return [
        metric("first_sync_vs_bare_updates", f"accounts/s, {each}", bare, pushes, ">= 0.6"),
        metric("restart_pass_vs_bare_reads", f"s, {each}", reads, restarts, "<= 2, nothing written"),
        metric("change_to_creds_p50_ms", "ms", debounce, [(ms, PB_NATS_DEBOUNCE_MS) for ms in usable], "value <= 300"),
        metric("revoke_to_gone_p50_ms", "ms", debounce, [(ms, PB_NATS_DEBOUNCE_MS) for ms in gone], "value <= 300"),
    ]


def metric(name: str, unit: str, peer: str, figures: Sequence[tuple[float, float]], bar: str) -> Metric:
    middle = statistics.median
    ours, theirs = middle(mine for mine, _ in figures), middle(other for _, other in figures)
    return Metric(name, ours, unit, peer, theirs, middle(mine / other for mine, other in figures), bar)


async def first_sync(site: Site) -> float:
    """Accounts a second, told and verified."""
    with site.nats_that_knows_nobody():
        async with leading(site.settings) as reconciler:
            done = await reconciler.run()
    if done.published < ACCOUNTS or done.pending:
        raise OtherPass(f"published {done.published}, pending {len(done.pending)}")
    return done.published / done.publish_seconds


async def bare_updates(site: Site) -> float:
    entries = await site.control.records(KEYS, filter='kind = "account"')
    tokens = iter([entry["jwt"].encode() for entry in entries])

    async def tell(client: Client) -> None:
        for token in tokens:
            answer = await client.request(subjects.CLAIMS_UPDATE, token, timeout=10)
            if b'"code":200' not in answer.data:
                raise RuntimeError(answer.data)

    with site.nats_that_knows_nobody():
        async with site.system() as client:
            begun = time.perf_counter()
            async with asyncio.TaskGroup() as tasks:
                for _ in range(BARE_AT_ONCE):
                    tasks.create_task(tell(client))
            return len(entries) / (time.perf_counter() - begun)


async def restart(site: Site) -> float:
    """Seconds of the first pass of a natsync that knows nothing yet and finds nothing to do."""
    async with leading(site.settings) as reconciler:
        begun = time.perf_counter()
        done = await reconciler.run()
        seconds = time.perf_counter() - begun
    if done.written or done.published:
        raise OtherPass(f"written {done.written}, published {done.published}")
    return seconds


async def bare_reads(site: Site) -> float:
    server = site.stack.pocketbase
    async with site.system() as nats, httpx.AsyncClient(base_url=server.url, timeout=30, trust_env=False) as client:
        login = {"identity": server.email, "password": server.password}
        answer = await client.post("/api/collections/_superusers/auth-with-password", json=login)
        client.headers["Authorization"] = answer.json()["token"]
        begun = time.perf_counter()
        await packed(nats)
        for name in (*READ_IN_ORDER, KEYS, QUEUE):
            await listed(client, name)
        return time.perf_counter() - begun


async def packed(client: Client) -> int:
    """How many accounts the server has."""
    inbox = client.new_inbox()
    answers = await client.subscribe(inbox)
    await client.publish(subjects.CLAIMS_PACK, b"", reply=inbox)
    count = 0
    while part := (await answers.next_msg(timeout=10)).data:
        count += len(part.splitlines())
    return count


async def listed(client: httpx.AsyncClient, collection: str) -> int:
    """How many records there are, a page after the other, each after the last id of the one before."""
    count, after = 0, ""
    while True:
        query: dict[str, str | int] = {"sort": "id", "perPage": PAGE, "skipTotal": 1}
        if after:
            query["filter"] = f'id > "{after}"'
        items = (await client.get(records_path(collection), params=query)).raise_for_status().json()["items"]
        count += len(items)
        if len(items) < PAGE:
            return count
        after = items[-1]["id"]


async def changes(site: Site) -> tuple[list[float], list[float]]:
    """Milliseconds from a new row to a login with its credentials, and from switching it off to the end of that."""
    await eventually(lambda: is_ready(site.stack.operations_url), seconds=60)
    usable: list[float] = []
    gone: list[float] = []
    for number in range(CHANGES):
        begun = time.perf_counter()
        user = await site.new_user(number)
        creds = await eventually(lambda user=user: creds_of(site, user["id"]))
        async with connected_with(site.stack.nats_url, creds) as live:
            usable.append((time.perf_counter() - begun) * 1_000)
            begun = time.perf_counter()
            await site.control.update("nats_users", user["id"], {"active": False})
            await live.is_cut()
            gone.append((time.perf_counter() - begun) * 1_000)
    return usable, gone


async def is_ready(url: str) -> bool:
    async with httpx.AsyncClient(base_url=url, timeout=30, trust_env=False) as client:
        return (await client.get("/readyz")).status_code == 200


async def creds_of(site: Site, user: str) -> str:
    return (await site.control.record("nats_users", user))["creds_file"]


class OtherPass(Exception):
    """The pass was another than the one to be measured."""
