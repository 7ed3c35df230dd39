"""`python -m tests.servers.cache_node VALKEY_URL NATS_URL NAME`: a process with a cache, asked over standard input.

A line `read KEY TAG` is answered with the outcome and the value, which is the process's own count of loads; `bump TAG`
with the milliseconds it took.
"""

import asyncio
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import structlog

from common.adapters.nats_bus import open_bus
from common.adapters.nats_invalidations import NatsInvalidations
from common.adapters.valkey_cache import ValkeyCache
from common.adapters.valkey_connections import open_valkey
from common.cache import RAW, Cache, Policy, open_cache

POLICY = Policy(ttl_seconds=600)


@asynccontextmanager
async def opened(valkey_url: str, nats_url: str, name: str) -> AsyncGenerator[Cache[bytes]]:
    async with (
        open_valkey(valkey_url) as valkey,
        open_bus(nats_url, name="cache") as bus,
        open_cache(name, RAW, shared=ValkeyCache(valkey, name), invalidations=NatsInvalidations(bus)) as cache,
    ):
        yield cache


@dataclass(slots=True)
class Node:
    """The other process, from the side of the one that started it."""

    process: asyncio.subprocess.Process

    async def ask(self, *words: str) -> list[str]:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        return (await self.process.stdout.readline()).decode().split()


@asynccontextmanager
async def node(valkey_url: str, nats_url: str, name: str) -> AsyncGenerator[Node]:
    command = (sys.executable, "-m", "tests.servers.cache_node", valkey_url, nats_url, name)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.DEVNULL)
    try:
        running = Node(process)
        assert await running.ask("ready") == ["ready"]
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def answer(cache: Cache[bytes], words: list[str], loads: int) -> str:
    if words[0] == "bump":
        began = asyncio.get_running_loop().time()
        await cache.bump(words[1])
        return f"{(asyncio.get_running_loop().time() - began) * 1000:.3f}"
    if words[0] == "read":

        async def load() -> bytes:
            return b"%d" % loads

        answer = await cache.get_or_load(words[1], load, tags=(words[2],), policy=POLICY)
        return f"{answer.outcome} {(answer.value or b'').decode()}"
    return words[0]


async def main(valkey_url: str, nats_url: str, name: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # answers are on standard output
    loop, questions = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    async with opened(valkey_url, nats_url, name) as cache:
        loads = 0
        while line := await questions.readline():
            loads += 1
            sys.stdout.write(await answer(cache, line.decode().split(), loads) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
