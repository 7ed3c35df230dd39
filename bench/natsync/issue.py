"""What it costs to issue credentials: beside bare nkeys, the library of NATS itself, doing only the cryptography of it.

A user as most are: a token of its own with a handful of subjects. Every user has another key and another name, so
that no side meets the same bytes twice.
"""

import os
import statistics
import time
from collections.abc import Callable

import nkeys  # pyright: ignore[reportMissingTypeStubs]

from bench.metric import Metric, side_by_side
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import Permissions, ResponsePermission, UserClaims, UserLimits, user_body

USERS = 1_000
CLAIMS = UserClaims(
    Permissions(
        publish=("sensors.*.temperature", "alerts.>", "commands.reply.*"),
        subscribe=("sensors.>", "commands.>", "_INBOX.>"),
        response=ResponsePermission(1, 10),
    ),
    UserLimits(subscriptions=100, payload=65_536),
)


def user_token(user: KeyPair, number: int, account: KeyPair, signer: KeyPair) -> str:
    body = user_body(CLAIMS, account=account.public_key)
    name = f"device-{number:05}"
    return encode(body, subject=user.public_key, name=name, issuer=signer, issued_at=1_700_000_000 + number)


def each_ms(make: Callable[[int], object]) -> float:
    """The median, in milliseconds."""
    spent: list[float] = []
    for number in range(USERS):
        begun = time.perf_counter()
        make(number)
        spent.append(time.perf_counter() - begun)
    return statistics.median(spent) * 1_000


def rate(make: Callable[[int], object]) -> float:
    """Calls a second, going by the median: other work on the machine meets few calls, but would weigh on their sum."""
    return 1_000 / each_ms(make)


async def measure() -> list[Metric]:
    account, signer = (KeyPair(KeyKind.ACCOUNT, os.urandom(32)) for _ in range(2))
    users = [KeyPair(KeyKind.USER, os.urandom(32)) for _ in range(USERS)]
    payloads = [
        user_token(user, number, account, signer).rpartition(".")[0].encode() for number, user in enumerate(users)
    ]
    bare = nkeys.from_seed(bytearray(signer.seed.encode()))

    def credentials(number: int) -> str:
        user = KeyPair(KeyKind.USER, os.urandom(32))
        return render(user_token(user, number, account, signer), user.seed)

    def bare_key_and_signature(number: int) -> object:
        user = nkeys.from_seed(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
        return (user.public_key, user.seed, bare.sign(payloads[number]))  # pyright: ignore[reportUnknownVariableType]

    async def ours_ms() -> float:
        return each_ms(credentials)

    async def peer_ms() -> float:
        return each_ms(bare_key_and_signature)

    async def ours() -> float:
        return rate(lambda number: user_token(users[number], number, account, signer))

    async def peer() -> float:
        return rate(lambda number: bare.sign(payloads[number]))

    whole = await side_by_side(ours_ms, peer_ms)
    tokens = await side_by_side(ours, peer)
    return [
        metric("user_creds_p50_ms", "ms", "nkeys: a user's key made, the same bytes signed", whole, "value <= 1"),
        metric("issue_vs_bare_nkeys", "tokens/s", "nkeys: the same bytes signed", tokens, ">= 0.5"),
    ]


def metric(name: str, unit: str, peer: str, figures: tuple[float, float, float], bar: str) -> Metric:
    value, peer_value, ratio = figures
    return Metric(name, value, unit, peer, peer_value, ratio, bar)
