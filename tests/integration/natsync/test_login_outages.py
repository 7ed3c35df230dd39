"""Logins by token while natsync, PocketBase or NATS is away, and what was said meanwhile."""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import nats.errors
import pytest

from common.adapters.nats_bus import open_bus
from common.core import subjects
from common.core.messages import Message
from common.core.notices import SessionRevoked, UserBanned
from common.core.pocketbase_answers import Record
from tests.eventually import eventually
from tests.servers.issuer import ISSUER, Issuer
from tests.servers.natsync import PASSWORD, Stack, Tenants, logged_in_with, prepare, stack, tenants_of
from tests.servers.process import free_port


@contextmanager
def bootstrapped(platform_issuer: Issuer, **changed: str) -> Generator[Stack]:
    """PocketBase and nats-server are running; natsync is not."""
    with stack(issuer=ISSUER, jwks_url=platform_issuer.jwks_url, **changed) as fresh:
        done = fresh.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(fresh.pocketbase)
        with fresh.nats():
            yield fresh


@pytest.fixture
def ready(platform_issuer: Issuer) -> Generator[Stack]:
    with bootstrapped(platform_issuer) as fresh:
        yield fresh


def beside(stack: Stack) -> Stack:
    """Another natsync of the same platform."""
    port, operations_port = free_port(), free_port()
    ports = {"NATSYNC_PORT": str(port), "NATSYNC_OPERATIONS_PORT": str(operations_port)}
    home = stack.home / "second"
    home.mkdir(exist_ok=True)
    environment = {**stack.environment, **ports}
    return replace(stack, home=home, port=port, operations_port=operations_port, environment=environment)


async def enrolled(tenants: Tenants, **fields: Any) -> tuple[Record, Record]:
    """A platform user and its NATS user, carried out."""
    body = {"email": f"{uuid4().hex}@example.com", "password": PASSWORD, "passwordConfirm": PASSWORD}
    owner = await tenants.control.create("users", body)
    user = await tenants.user(await tenants.account(), await tenants.role(), user=owner["id"], **fields)
    await tenants.credentials(user)
    return owner, user


def token_of(platform_issuer: Issuer, owner: Record, **claims: Any) -> str:
    return platform_issuer.token(owner["id"], aud=["natsync"], collectionName="users", **claims)


async def is_let_in(stack: Stack, token: str) -> bool:
    try:
        async with logged_in_with(stack.nats_url, token):
            return True
    except (nats.errors.Error, OSError, TimeoutError):
        return False


@asynccontextmanager
async def saying(stack: Stack, service: str) -> AsyncGenerator[Any]:
    async with open_bus(stack.nats_url, name=service, creds=stack.directory / "creds" / f"{service}.creds") as bus:
        await bus.ready()
        yield bus


async def say(stack: Stack, service: str, subject: str, message: Message) -> None:
    async with saying(stack, service) as bus:
        await bus.publish(subject, message)


async def test_what_was_ended_or_banned_while_natsync_was_away_does_not_come_back_with_it(
    ready: Stack, platform_issuer: Issuer
) -> None:
    async with tenants_of(ready) as tenants:
        with ready.serving():
            (ended, _), (banned, user), (stays, _) = [await enrolled(tenants) for _ in range(3)]
            tokens = [token_of(platform_issuer, owner, sid=uuid4().hex) for owner in (ended, banned, stays)]
            for token in tokens:
                await eventually(lambda token=token: is_let_in(ready, token))
        sessions = [platform_issuer_session(token) for token in tokens]
        await say(ready, "gateway", subjects.SESSION_REVOKED, SessionRevoked(session_id=sessions[0]))
        await say(ready, "chathub", subjects.USER_BANNED, UserBanned(subject=banned["id"]))
        with ready.serving():
            await eventually(lambda: is_let_in(ready, tokens[2]), seconds=10)
            assert not await is_let_in(ready, tokens[0])
            assert not await is_let_in(ready, tokens[1])
            await tenants.synced(user, sync_status="inactive")


def platform_issuer_session(token: str) -> str:
    import jwt

    return str(jwt.decode(token, options={"verify_signature": False})["sid"])


async def test_who_lost_rights_while_natsync_was_away_is_cut_off_when_it_is_back(
    ready: Stack, platform_issuer: Issuer
) -> None:
    async with tenants_of(ready) as tenants:
        with ready.serving():
            owner, user = await enrolled(tenants)
            other, _ = await enrolled(tenants)
            await eventually(lambda: is_let_in(ready, token_of(platform_issuer, owner)))
            live = logged_in_with(ready.nats_url, token_of(platform_issuer, owner))
            innocent = logged_in_with(ready.nats_url, token_of(platform_issuer, other))
            stays, goes = await innocent.__aenter__(), await live.__aenter__()
        await tenants.control.update("nats_users", user["id"], {"active": False})
        await goes.client.flush(timeout=2)
        with ready.serving():
            await goes.is_cut()
            await stays.client.flush(timeout=2)
        for made in (live, innocent):
            await made.__aexit__(None, None, None)


async def test_of_two_natsyncs_either_answers_and_one_is_enough(ready: Stack, platform_issuer: Issuer) -> None:
    second = beside(ready)
    async with tenants_of(ready) as tenants:
        with ready.serving():
            owner, _ = await enrolled(tenants)
            token = token_of(platform_issuer, owner)
            await eventually(lambda: is_let_in(ready, token))
            with second.serving():
                await eventually(lambda: admits(second))
                for _ in range(20):
                    assert await is_let_in(ready, token)
            for _ in range(5):
                assert await is_let_in(ready, token)
        assert all("NATS login admitted" in log_of(one) for one in (ready, second))


async def admits(stack: Stack) -> bool:
    async with httpx.AsyncClient(base_url=stack.operations_url, trust_env=False) as client:
        return (await client.get("/readyz")).json()["probes"].get("callout") == "ok"


def log_of(stack: Stack) -> str:
    return (stack.home / "natsync.log").read_text()


async def test_without_natsync_nobody_waits_long_and_it_is_found_when_it_is_back(
    ready: Stack, platform_issuer: Issuer
) -> None:
    async with tenants_of(ready) as tenants:
        with ready.serving():
            owner, _ = await enrolled(tenants)
            token = token_of(platform_issuer, owner)
            await eventually(lambda: is_let_in(ready, token))
        begun = time.monotonic()
        assert not await is_let_in(ready, token)
        assert time.monotonic() - begun < 6
        with ready.serving():
            await eventually(lambda: is_let_in(ready, token), seconds=10)


async def test_nats_may_be_started_anew(platform_issuer: Issuer) -> None:
    with stack(issuer=ISSUER, jwks_url=platform_issuer.jwks_url) as fresh:
        assert fresh.command("bootstrap").returncode == 0
        prepare(fresh.pocketbase)
        async with tenants_of(fresh) as tenants:
            with fresh.serving():
                with fresh.nats():
                    owner, _ = await enrolled(tenants)
                    token = token_of(platform_issuer, owner)
                    await eventually(lambda: is_let_in(fresh, token), seconds=30)
                with fresh.nats():
                    await eventually(lambda: is_let_in(fresh, token), seconds=30)


async def test_it_works_unencrypted_too(platform_issuer: Issuer) -> None:
    with bootstrapped(platform_issuer, NATSYNC_AUTH_CALLOUT_ENCRYPTION="false") as fresh, fresh.serving():
        async with tenants_of(fresh) as tenants:
            owner, _ = await enrolled(tenants)
            await eventually(lambda: is_let_in(fresh, token_of(platform_issuer, owner)))


async def test_switched_off_nobody_gets_in_by_token_and_credentials_go_on(platform_issuer: Issuer) -> None:
    with bootstrapped(platform_issuer, NATSYNC_AUTH_CALLOUT="false") as fresh, fresh.serving():
        assert "default_sentinel" not in (fresh.directory / "nats.conf").read_text()
        async with tenants_of(fresh) as tenants:
            owner, _ = await enrolled(tenants)
            assert not await is_let_in(fresh, token_of(platform_issuer, owner))


async def test_questions_that_nobody_of_ours_asks_are_not_answered(ready: Stack, platform_issuer: Issuer) -> None:
    """Whoever got hold of the callout's own credentials could ask; it cannot make natsync sign anything."""
    from tests.servers.natsync import connected_with

    async with tenants_of(ready) as tenants:
        with ready.serving():
            owner, _ = await enrolled(tenants)
            token = token_of(platform_issuer, owner)
            await eventually(lambda: is_let_in(ready, token))
            async with connected_with(
                ready.nats_url, ready.directory / "creds" / "callout.creds", name="callout"
            ) as callout:
                await callout.client.publish(subjects.USER_AUTH, token.encode(), reply="_INBOX.callout.x")
                await callout.is_refused(subjects.USER_AUTH)


async def test_a_flood_of_wrong_logins_keeps_nobody_out(ready: Stack, platform_issuer: Issuer) -> None:
    async with tenants_of(ready) as tenants:
        with ready.serving():
            owner, _ = await enrolled(tenants)
            token = token_of(platform_issuer, owner)
            await eventually(lambda: is_let_in(ready, token))
            async with asyncio.TaskGroup() as tasks:
                wrong = [tasks.create_task(is_let_in(ready, f"wrong.{number}.x")) for number in range(150)]
                right = [tasks.create_task(is_let_in(ready, token)) for _ in range(10)]
            assert not any(task.result() for task in wrong)
            assert all(task.result() for task in right)
            assert log_of(ready).count("NATS login denied") < 100
