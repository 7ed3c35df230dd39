"""The shared counters on Valkey: a whole batch is decided by one script, at the server's time."""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import cast

import hiredis
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, RedisError

from common.core.errors import UpstreamUnavailable
from common.core.rate_limit import Answer, Ask, Outcome
from common.core.rate_limit_rule import Terms

SCRIPT = files("common.adapters").joinpath("rate_limit.lua").read_text("utf-8")

_TERMS = struct.Struct("<9d")
_ASK = struct.Struct("<HIIddI")
_NOW = struct.Struct("<d")
_ANSWER = struct.Struct("<BIqqI")
OUTCOMES: tuple[Outcome, ...] = ("allowed", "limited", "penalised")


class ValkeyCounters:
    """Counts under `prefix`: services that share a Valkey share their limits only where the prefix is the same.

    The server should evict rather than refuse when it is full (`maxmemory-policy volatile-ttl`): every key expires.
    """

    def __init__(self, client: Redis, *, prefix: str) -> None:
        self._client = client
        self._prefix = prefix.encode()
        self._script = SCRIPT
        self._digest = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()

    async def decide(self, asks: Sequence[Ask]) -> list[Answer]:
        """Raises UpstreamUnavailable."""
        terms, questions = encode(asks)
        arguments = (len(asks), *(self._prefix + ask.key for ask in asks), terms, questions)
        try:
            try:
                reply = await self._command("EVALSHA", self._digest, *arguments)
            except NoScriptError:
                reply = await self._command("EVAL", self._script, *arguments)
        except (RedisError, OSError, TimeoutError) as error:
            raise UpstreamUnavailable(f"Valkey does not count: {type(error).__name__}.") from error
        return decode(asks, reply)

    async def _command(self, *words: bytes | str | int) -> bytes:
        """As the client does it, but packed by hiredis, and never twice: an answer that got lost was counted."""
        pool = self._client.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(pack(words))
            return cast(bytes, await connection.read_response(disable_decoding=True))
        finally:
            await pool.release(connection)


def pack(words: tuple[bytes | str | int, ...]) -> bytes:
    return cast(bytes, hiredis.pack_command(words))  # pyright: ignore[reportArgumentType, reportUnknownMemberType] - typed as a tuple of one


def encode(asks: Sequence[Ask]) -> tuple[bytes, bytes]:
    """The terms of every rule in the batch, once each, and the questions, which name them by their place."""
    places: dict[int, int] = {}
    terms: list[Terms] = []
    questions: list[bytes] = []
    pack = _ASK.pack
    for ask in asks:
        place = places.get(id(ask.terms))
        if place is None:
            terms.append(ask.terms)
            place = places[id(ask.terms)] = len(terms)
        questions.append(pack(place, ask.cost, ask.want, ask.owner, ask.settle_until_us, ask.settle_unused))
    return b"".join(_TERMS.pack(*each) for each in terms), b"".join(questions)


def decode(asks: Sequence[Ask], reply: bytes) -> list[Answer]:
    now_us = int(_NOW.unpack_from(reply)[0])
    rows = cast(Iterator[tuple[int, int, int, int, int]], _ANSWER.iter_unpack(memoryview(reply)[_NOW.size :]))
    return [
        Answer(
            OUTCOMES[outcome],
            remaining,
            retry_us,
            reset_us,
            granted,
            now_us + ask.terms.lease_us if granted else 0,
            now_us,
        )
        for ask, (outcome, remaining, retry_us, reset_us, granted) in zip(asks, rows, strict=True)
    ]
