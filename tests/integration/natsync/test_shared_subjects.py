"""Exports and imports on a real server: one that has neither fault nor lint is alive, and one that has is dead."""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeAlias

import pytest
from nats.errors import TimeoutError as NothingHeard

from natsync.core.claims.account_claims import AccountClaims, Export, Import, account_body
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.keys import KeyKind
from natsync.core.claims.token_codec import encode
from natsync.core.validation.account_validation import validate_account
from natsync.core.validation.import_validation import local_subject
from natsync.core.validation.lints import lint_account
from tests.servers.nats import nats_server
from tests.servers.nats_operator import Operator, Tenant, new_key
from tests.servers.natsync import connected_with
from tests.servers.process import directory

SILENCE_SECONDS = 0.3
PATIENCE_SECONDS = 5
MEMORY = """
operator: {operator}
system_account: {system}
resolver: MEMORY
resolver_preload {{
{preload}
}}
"""


@dataclass(frozen=True, slots=True)
class Pair:
    exporter: Tenant = field(default_factory=lambda: Tenant("exporter"))
    importer: Tenant = field(default_factory=lambda: Tenant("importer"))
    stranger: Tenant = field(default_factory=lambda: Tenant("stranger"))

    def grant(self, *, issuer: Tenant | None = None, ends_in: int = 3600) -> str:
        now = int(time.time())
        return encode(
            activation_body(subject="feed.>", kind="stream", exporter=self.exporter.public_key),
            subject=self.importer.public_key,
            name="feed",
            issuer=(issuer or self.exporter).signer,
            issued_at=now - 10,
            expires_at=now + ends_in,
        )

    def imported(self, token: str = "", subject: str = "feed.>", local: str = "here.>") -> Import:
        return Import(subject, self.exporter.public_key, local_subject=local, token=token)


Case: TypeAlias = Callable[[Pair], tuple[Export, Import]]

ALIVE: dict[str, Case] = {
    "public": lambda pair: (Export("feed.>"), pair.imported()),
    "under its own name": lambda pair: (Export("feed.>"), pair.imported(local="")),
    "renamed": lambda pair: (Export("*.*"), pair.imported(subject="feed.*", local="here.$1")),
    "granted": lambda pair: (Export("feed.>", token_required=True), pair.imported(pair.grant())),
    "revoked before": lambda pair: (
        Export("feed.>", token_required=True, revocations={"*": int(time.time()) - 60}),
        pair.imported(pair.grant()),
    ),
}
DEAD: dict[str, Case] = {
    "no export": lambda pair: (Export("other.>"), pair.imported()),
    "no grant": lambda pair: (Export("feed.>", token_required=True), pair.imported()),
    "revoked": lambda pair: (
        Export("feed.>", token_required=True, revocations={pair.importer.public_key: int(time.time())}),
        pair.imported(pair.grant()),
    ),
    "revoked for all": lambda pair: (
        Export("feed.>", token_required=True, revocations={"*": int(time.time())}),
        pair.imported(pair.grant()),
    ),
    "expired": lambda pair: (Export("feed.>", token_required=True), pair.imported(pair.grant(ends_in=-5))),
    "granted by somebody else": lambda pair: (
        Export("feed.>", token_required=True),
        pair.imported(pair.grant(issuer=pair.stranger)),
    ),
    "not under its own key": lambda pair: (
        Export("feed.*", account_token_position=2),
        pair.imported(subject="feed.x", local="here.x"),
    ),
}


RING = {name: Tenant(name) for name in ("one", "other")}


@dataclass(frozen=True, slots=True)
class Shared:
    url: str
    pairs: dict[str, Pair]
    claims: dict[str, AccountClaims]

    def objections(self, tenant: Tenant) -> list[str]:
        """What is found wrong with the account."""
        account, now = tenant.public_key, int(time.time())
        found = validate_account(self.claims[account], account=account, accounts=self.claims)
        found += lint_account(self.claims[account], account=account, accounts=self.claims, now=now)
        return [problem.reason for problem in found]

    async def hears(
        self, listener: Tenant, speaker: Tenant, *, heard: str, said: str, seconds: float = SILENCE_SECONDS
    ) -> bool:
        """Within this time. A fresh subscription across accounts may miss the first message, so there are several."""
        async with (
            connected_with(self.url, listener.user(new_key(KeyKind.USER))) as here,
            connected_with(self.url, speaker.user(new_key(KeyKind.USER))) as there,
        ):
            subscription = await here.hears(heard)
            begun = time.monotonic()
            while time.monotonic() - begun < seconds:
                await there.client.publish(said, b"")
                await there.client.flush()
                try:
                    await subscription.next_msg(timeout=0.05)
                except NothingHeard:
                    continue
                return True
        return False


def account_token(operator: Operator, tenant: Tenant, claims: AccountClaims) -> str:
    now = int(time.time())
    return encode(
        account_body(claims), subject=tenant.public_key, name=tenant.name, issuer=operator.signer, issued_at=now
    )


@pytest.fixture(scope="module")
def shared() -> Generator[Shared]:
    """Every case in accounts of its own, all on one server."""
    operator, pairs, claims, tenants = Operator(), dict[str, Pair](), dict[str, AccountClaims](), list[Tenant]()

    def say(tenant: Tenant, exports: list[Export], imports: list[Import]) -> None:
        claims[tenant.public_key] = AccountClaims([tenant.signer.public_key], exports=exports, imports=imports)
        tenants.append(tenant)

    for name, case in {**ALIVE, **DEAD}.items():
        pairs[name] = Pair()
        export, imported = case(pairs[name])
        say(pairs[name].exporter, [export], [])
        say(pairs[name].importer, [], [imported])
    one, other = RING.values()
    say(one, [Export("ring")], [Import("ring", other.public_key)])
    say(other, [Export("ring")], [Import("ring", one.public_key)])
    tokens = {tenant.public_key: account_token(operator, tenant, claims[tenant.public_key]) for tenant in tenants}
    tokens[operator.system.public_key] = operator.account(operator.system)
    preload = "\n".join(f"  {account}: {token}" for account, token in tokens.items())
    with directory() as home:
        configuration = home / "nats.conf"
        system = operator.system.public_key
        configuration.write_text(MEMORY.format(operator=operator.token, system=system, preload=preload))
        with nats_server(configuration) as url:
            yield Shared(url, pairs, claims)


@pytest.mark.parametrize("name", [*ALIVE, *DEAD])
async def test_an_import_is_alive_if_there_is_nothing_against_it(shared: Shared, name: str) -> None:
    pair = shared.pairs[name]
    heard = shared.claims[pair.importer.public_key].imports[0]
    seconds = PATIENCE_SECONDS if name in ALIVE else SILENCE_SECONDS
    alive = await shared.hears(pair.importer, pair.exporter, heard=local_subject(heard), said="feed.x", seconds=seconds)
    assert alive is (name in ALIVE)
    assert (shared.objections(pair.importer) == []) is alive


async def test_of_a_ring_of_imports_the_server_leaves_one_out(shared: Shared) -> None:
    one, other = RING.values()
    forth = await shared.hears(one, other, heard="ring", said="ring")
    back = await shared.hears(other, one, heard="ring", said="ring")
    assert not (forth and back)
    for tenant in (one, other):
        (objection,) = shared.objections(tenant)
        assert "imported from here" in objection
