"""What nats-server makes of our claims, with no PocketBase about: what a user may do as the server itself sees it, and
which accounts it refuses to take."""

import asyncio
import base64
import json
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError

from common.core import subjects
from natsync.core.claims.account_claims import AccountClaims, ScopedKey, account_body
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import (
    Permissions,
    ResponsePermission,
    TimeRange,
    UserClaims,
    scoped_user_body,
    user_body,
)
from natsync.core.state.templates import TemplateUnfit, TemplateValues, expanded, template_faults
from natsync.core.validation.account_validation import validate_account, without_faulty_rows
from natsync.core.validation.lints import token_lints
from natsync.core.validation.subject_grammar import overlap
from tests.random_claims import ACCOUNTS, ALL_DAY, RandomClaims
from tests.servers.nats import nats_server
from tests.servers.nats_operator import Operator, Tenant, new_key
from tests.servers.natsync import connected_with, hang_up, refused
from tests.servers.process import directory

USER_INFO = "$SYS.REQ.USER.INFO"
INBOX = "_INBOX.test"
ROLES = 100
AT_ONCE = 20
TAGS = ("team:red", "team:blue", "floor:3")
DEFAULTS = Permissions(publish=(">",), subscribe=(">",), publish_deny=("default.denied",))
CONFIGURATION = """
operator: {operator}
system_account: {system}
resolver {{ type: full, dir: "{home}/resolver", allow_delete: true, interval: "2m", limit: 100000 }}
resolver_preload {{ {system}: {system_token}, {tenant}: {tenant_token} }}
"""


@dataclass(frozen=True, slots=True)
class Someone:
    """A user, its token, and what it should be allowed."""

    key: KeyPair
    token: str
    permissions: Permissions


@dataclass(frozen=True, slots=True)
class World:
    operator: Operator
    tenant: Tenant
    url: str
    roles: list[tuple[KeyPair, UserClaims]]

    def with_role(self, number: int, name: str, tags: tuple[str, ...] = TAGS) -> Someone:
        """A user of a scoped key."""
        signer, role = self.roles[number]
        key = new_key(KeyKind.USER)
        values = TemplateValues(name, key.public_key, self.tenant.name, self.tenant.public_key, tags)
        body = scoped_user_body(account=self.tenant.public_key, tags=tags)
        token = encode(body, subject=key.public_key, name=name, issuer=signer, issued_at=int(time.time()))
        return Someone(key, token, expanded(role.permissions, values))

    def of_its_own(self, claims: UserClaims) -> Someone:
        """A user with overrides, hence a plain token."""
        key, signer = new_key(KeyKind.USER), self.tenant.signer
        body = user_body(claims, account=self.tenant.public_key)
        token = encode(body, subject=key.public_key, name="own", issuer=signer, issued_at=int(time.time()))
        return Someone(key, token, claims.permissions)


def able_to_ask(claims: UserClaims) -> UserClaims:
    """The same, but so that the user may ask what it may do, from here and now."""
    permissions = claims.permissions
    publish = (*permissions.publish, USER_INFO) if permissions.publish or permissions.response else ()
    subscribe = (*permissions.subscribe, f"{INBOX}.>") if permissions.subscribe else ()
    asking = replace(
        permissions,
        publish=publish,
        subscribe=subscribe,
        publish_deny=tuple(each for each in permissions.publish_deny if not overlap(each, USER_INFO)),
        subscribe_deny=tuple(each for each in permissions.subscribe_deny if not overlap(each, f"{INBOX}.>")),
    )
    return replace(claims, permissions=asking)


def random_roles() -> list[tuple[KeyPair, UserClaims]]:
    """The first two are made to measure: templates everywhere, and nothing but a denial that asks for a tag."""
    random = RandomClaims(Random(2))
    made = [random.user(templates=True) for _ in range(ROLES - 2)]
    everywhere = Permissions(
        publish=("in.{{name()}}.>", "{{subject()}}", "x.{{tag(none)}}"),
        subscribe=("{{account-name()}}.{{account-subject()}}", "{{tag(team)}}.{{tag(floor)}}.{{tag(team)}}"),
        publish_deny=("in.{{name()}}.secret", "u-{{tag(team)}}"),
        response=ResponsePermission(2, 0.5),
    )
    claims = [UserClaims(everywhere), UserClaims(Permissions(publish_deny=("d.{{tag(team)}}",))), *made]
    return [(new_key(KeyKind.ACCOUNT), able_to_ask(each)) for each in claims]


@pytest.fixture(scope="module")
def world() -> Generator[World]:
    operator, tenant, roles = Operator(), Tenant("tenant"), random_roles()
    keys = [ScopedKey(key.public_key, f"role{number}", role) for number, (key, role) in enumerate(roles)]
    claims = AccountClaims(signing_keys=[tenant.signer.public_key, *keys], default_permissions=DEFAULTS)
    assert validate_account(claims, account=tenant.public_key) == []
    body, system = account_body(claims), operator.system
    with directory() as home:
        configuration = home / "nats.conf"
        configuration.write_text(
            CONFIGURATION.format(
                operator=operator.token,
                system=system.public_key,
                home=home,
                system_token=operator.account(system),
                tenant=tenant.public_key,
                tenant_token=encode(
                    body,
                    subject=tenant.public_key,
                    name=tenant.name,
                    issuer=operator.signer,
                    issued_at=int(time.time()),
                ),
            )
        )
        with nats_server(configuration) as url:
            yield World(operator, tenant, url, roles)


async def said_by_the_server(url: str, user: Someone) -> Mapping[str, Any]:
    """Raises nats.errors.Error when it turns the user away."""
    async with connected_with(url, render(user.token, user.key.seed)) as connection:
        answer = await connection.client.request(USER_INFO, b"", timeout=5)
    return json.loads(answer.data)["data"]


def seen(permissions: Mapping[str, Any]) -> tuple[Any, ...]:
    publish, subscribe = permissions.get("publish", {}), permissions.get("subscribe", {})
    sides = (publish.get("allow", ()), publish.get("deny", ()), subscribe.get("allow", ()), subscribe.get("deny", ()))
    return (*(frozenset(side) for side in sides), permissions.get("responses"))


def meant(permissions: Permissions) -> tuple[Any, ...]:
    """As the server shows it: with its own defaults in a response permission, the account's where there is nothing."""
    effective = DEFAULTS if permissions == Permissions() else permissions
    response = effective.response
    responses = response and {
        "max": response.max_messages or 1,
        "ttl": int(response.seconds * 1_000_000_000) or 120_000_000_000,
    }
    sides = (effective.publish, effective.publish_deny, effective.subscribe, effective.subscribe_deny)
    return (*(frozenset(side) for side in sides), responses)


async def test_users_may_do_what_was_claimed_for_two_hundred_roles_and_overrides(world: World) -> None:
    random = RandomClaims(Random(3))
    users = [world.with_role(number, f"user{number}") for number in range(ROLES)]
    users += [world.of_its_own(able_to_ask(random.user())) for _ in range(ROLES)]
    gate, wrong = asyncio.Semaphore(AT_ONCE), []

    async def ask(user: Someone) -> None:
        async with gate:
            said = await said_by_the_server(world.url, user)
        assert said["account"] == world.tenant.public_key
        if seen(said["permissions"]) != meant(user.permissions):
            wrong.append((said["permissions"], user.permissions))

    async with asyncio.TaskGroup() as tasks:
        for user in users:
            tasks.create_task(ask(user))
    assert wrong == []


async def test_a_name_that_is_a_wildcard_would_widen_its_role_on_the_server_and_is_found_before(world: World) -> None:
    """The server fills in whatever the token says; were it to stop, the rule here could go."""
    signer, _ = world.roles[0]
    key = new_key(KeyKind.USER)
    body = scoped_user_body(account=world.tenant.public_key, tags=TAGS)
    token = encode(body, subject=key.public_key, name="*", issuer=signer, issued_at=int(time.time()))
    shown = await said_by_the_server(world.url, Someone(key, token, Permissions()))
    assert "in.*.>" in shown["permissions"]["publish"]["allow"]
    for name in (">", "*", "a.b"):
        with pytest.raises(TemplateUnfit):
            world.with_role(0, name)


async def test_a_user_without_the_tag_that_its_role_denies_is_turned_away_and_found_before(world: World) -> None:
    signer, role = world.roles[1]
    key = new_key(KeyKind.USER)
    body = scoped_user_body(account=world.tenant.public_key)
    token = encode(body, subject=key.public_key, name="n", issuer=signer, issued_at=int(time.time()))
    assert await refused(world.url, render(token, key.seed))
    assert template_faults(role.permissions, TemplateValues("n", key.public_key))


async def test_a_user_of_a_scoped_key_with_a_limit_of_its_own_is_turned_away(world: World) -> None:
    signer, _ = world.roles[0]
    key = new_key(KeyKind.USER)
    body = {**scoped_user_body(account=world.tenant.public_key, tags=TAGS), "subs": -1}
    token = encode(body, subject=key.public_key, name="n", issuer=signer, issued_at=int(time.time()))
    assert await refused(world.url, render(token, key.seed))


def an_hour_off_now() -> TimeRange:
    now = datetime.now(UTC)
    start, end = now + timedelta(hours=1), now + timedelta(hours=2)
    return TimeRange(f"{start:%H:%M:%S}", f"{end:%H:%M:%S}")


async def test_restrictions_hold(world: World) -> None:
    permitted = UserClaims(
        source_networks=("127.0.0.0/8",),
        times=ALL_DAY,
        times_location="UTC",
        connection_types=("STANDARD",),
    )
    for claims, admitted in (
        (permitted, True),
        (replace(permitted, source_networks=("192.0.2.0/24",)), False),
        (replace(permitted, times=(an_hour_off_now(),)), False),
        (replace(permitted, times_location="Europe/Nowhere"), False),
        (replace(permitted, connection_types=("WEBSOCKET",)), False),
    ):
        user = world.of_its_own(claims)
        assert await refused(world.url, render(user.token, user.key.seed)) is not admitted


async def test_a_bearer_token_needs_no_key(world: World) -> None:
    for bearer in (True, False):
        user = world.of_its_own(UserClaims(bearer_token=bearer))
        client = Client()
        try:
            await client.connect(
                world.url,
                user_jwt_cb=lambda token=user.token: token.encode(),
                signature_cb=lambda _: base64.b64encode(b"no signature"),
                allow_reconnect=False,
            )
            assert bearer
        except NatsError:
            assert not bearer
        finally:
            await hang_up(client)


async def test_a_token_of_the_advised_length_is_let_in_and_one_far_beyond_it_is_not(world: World) -> None:
    """The server's limit is of the whole CONNECT line, in which the client has its part."""
    for count, admitted in ((45, True), (65, False)):
        wanted = (USER_INFO, *(f"a.long.enough.subject.for.the.number.{number:03}" for number in range(count)))
        user = world.of_its_own(UserClaims(Permissions(publish=wanted)))
        assert bool(token_lints(user.token)) is not admitted
        try:
            await said_by_the_server(world.url, user)
            let_in = True
        except NatsError:
            let_in = False
        assert let_in is admitted


async def test_what_a_server_refuses_to_take_is_found_before_and_what_is_left_it_takes(world: World) -> None:
    """Three hundred accounts, most with something wrong. An account it has never seen it checks without loading."""
    system = world.operator.system
    creds = system.user(new_key(KeyKind.USER))
    async with connected_with(world.url, creds) as connection:

        async def complaint(claims: AccountClaims, issued_at: int) -> str:
            token = encode(
                account_body(claims),
                subject=ACCOUNTS[0].public_key,
                name="random",
                issuer=world.operator.signer,
                issued_at=issued_at,
            )
            answer = await connection.client.request(subjects.CLAIMS_UPDATE, token.encode(), timeout=5)
            return json.loads(answer.data).get("error", {}).get("description", "")

        refusals = 0
        for seed in range(300):
            claims = RandomClaims(Random(seed), unfit=0.08).account()
            problems = validate_account(claims, account=ACCOUNTS[0].public_key)
            said = await complaint(claims, 1_000_000 + seed)
            refusals += bool(said)
            assert problems or not said, (said, claims)
            left = without_faulty_rows(claims, problems)
            if all(problem.part in ("exports", "imports") for problem in problems):
                assert not await complaint(left, 2_000_000 + seed)
        assert refusals > 100
