"""Tokens against issuers that are really there: discovery, rotation, absence, and what is answered meanwhile."""

import asyncio
import time
from collections.abc import Generator
from typing import Any

import pytest

from common.adapters.issuers import IssuerKeys, TokenVerifier, open_verifier
from common.core.errors import Unauthenticated, UpstreamUnavailable
from common.core.key_refresh import RefreshTerms
from common.core.tokens import SigningKey, TrustedIssuer
from tests.eventually import eventually
from tests.servers.issuer import AUDIENCE, DISCOVERY, ISSUER, JWKS, Issuer, Mode, RealmKey, issuer, keycloak_claims
from tests.servers.process import free_port

QUICK = RefreshTerms(
    refresh_seconds=0.2, ttl_seconds=0.4, max_stale_seconds=60, cooldown_seconds=0.05, max_cooldown_seconds=0.2
)
BAD_MODES: list[Mode] = ["failing", "hanging", "dripping", "redirecting", "oversized", "packed", "nonsense"]


@pytest.fixture
def running() -> Generator[Issuer]:
    with issuer() as started:
        yield started


def by_address(source: Issuer, trusted_issuer: str = ISSUER) -> IssuerKeys:
    return IssuerKeys(TrustedIssuer(trusted_issuer, AUDIENCE, ("ES256", "RS256")), source.jwks_url)


def by_discovery(source: Issuer) -> IssuerKeys:
    return IssuerKeys(TrustedIssuer(source.url, AUDIENCE, ("ES256", "RS256")))


def strangers(count: int) -> list[str]:
    """Tokens that all name different keys."""
    key = Issuer("", SigningKey(b"\x09" * 32))
    tokens: list[str] = []
    for number in range(count):
        key.key.key_id = f"random-{number}"
        tokens.append(key.token("mallory"))
    return tokens


async def refusals(verifier: TokenVerifier, tokens: list[str]) -> list[type[Exception] | None]:
    """What each came to, all asked at once."""

    async def refusal(token: str) -> type[Exception] | None:
        try:
            await verifier.verify(token)
        except (Unauthenticated, UpstreamUnavailable) as error:
            return type(error)
        return None

    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(refusal(token)) for token in tokens]
    return [task.result() for task in asked]


async def test_keycloak_and_the_gateway_are_trusted_side_by_side(running: Issuer) -> None:
    realm = RealmKey()
    with issuer() as keycloak:
        keycloak.publication.keys[:] = [{**realm.public_jwk, "kid": "enc", "use": "enc"}, realm.public_jwk]
        async with open_verifier([by_address(running), by_discovery(keycloak)]) as verifier:
            assert (await verifier.verify(running.token("ann", "admin"))).roles == {"admin"}
            told = keycloak_claims(keycloak.url)
            identity = await verifier.verify(realm.sign(told))
            assert (identity.issuer, identity.username, identity.session_id) == (keycloak.url, "ann", told["sid"])
            with pytest.raises(Unauthenticated):
                await verifier.verify(realm.sign(keycloak_claims(ISSUER)))
            for other in ({"typ": "ID"}, {"typ": "Refresh"}, {"typ": "Logout"}, {"aud": "account"}):
                with pytest.raises(Unauthenticated):
                    await verifier.verify(realm.sign({**told, **other}))
        assert keycloak.publication.asked == {DISCOVERY: 1, JWKS: 1}
        assert running.publication.asked == {JWKS: 1}


async def test_discovery_may_be_asked_at_an_internal_address(running: Issuer) -> None:
    public = "https://sso.example/realms/Chatserver"
    running.publication.discovery["issuer"] = public
    trusted = TrustedIssuer(public, AUDIENCE, ("ES256",))
    async with open_verifier([IssuerKeys(trusted, discovery_url=running.url + DISCOVERY)]) as verifier:
        assert await verifier.verify(running.token("ann", iss=public))


@pytest.mark.parametrize(
    "changes", [{"issuer": "https://evil.example"}, {"issuer": None}, {"jwks_uri": None}, {"jwks_uri": "file:///etc"}]
)
async def test_a_discovery_document_that_does_not_fit_is_not_believed(running: Issuer, changes: dict[str, Any]) -> None:
    running.publication.discovery.update(changes)
    async with open_verifier([by_discovery(running)]) as verifier:
        with pytest.raises(UpstreamUnavailable):
            await verifier.verify(running.token("ann", iss=running.url))
    assert running.publication.asked[JWKS] == 0


async def test_a_thousand_random_keys_cost_the_issuer_a_handful_of_requests(running: Issuer) -> None:
    tokens = strangers(1000)
    async with open_verifier([by_address(running)]) as verifier:
        assert set(await refusals(verifier, tokens[:500])) == {Unauthenticated}
        for token in tokens[500:]:
            with pytest.raises(Unauthenticated):
                await verifier.verify(token)
        assert await verifier.verify(running.token("ann"))
    assert running.publication.asked[JWKS] <= 5


async def test_a_thousand_random_keys_cost_an_issuer_that_is_broken_no_more(running: Issuer) -> None:
    running.publication.mode = "failing"
    async with open_verifier([by_address(running)]) as verifier:
        assert set(await refusals(verifier, strangers(1000))) == {UpstreamUnavailable}
        assert set(await refusals(verifier, strangers(1000))) == {UpstreamUnavailable}
    assert running.publication.asked[JWKS] <= 5


@pytest.mark.parametrize("mode", BAD_MODES)
async def test_keys_outlive_an_issuer_that_answers_badly_and_nobody_waits_for_it(running: Issuer, mode: Mode) -> None:
    async with open_verifier([by_address(running)], refresh=QUICK, fetch_seconds=0.3, remember_tokens=0) as verifier:
        await verifier.verify(running.token("ann"))
        running.publication.mode = mode

        async def asked_again() -> int:
            await verifier.verify(running.token("ann"))
            return running.publication.asked[JWKS]

        seen = await eventually(asked_again, lambda asked: asked >= 3)
        begun = time.monotonic()
        for _ in range(20):
            await verifier.verify(running.token("ann"))
        assert time.monotonic() - begun < 1
        running.publication.mode = "well"
        running.publication.released.set()
        await eventually(asked_again, lambda asked: asked > seen)


@pytest.mark.parametrize("mode", BAD_MODES)
async def test_an_issuer_that_answered_badly_at_first_is_used_once_it_is_well(running: Issuer, mode: Mode) -> None:
    running.publication.mode = mode
    async with open_verifier([by_address(running)], refresh=QUICK, fetch_seconds=0.3) as verifier:
        with pytest.raises(UpstreamUnavailable):
            await verifier.verify(running.token("ann"))
        running.publication.mode = "well"
        await eventually_ready(verifier)
        assert await verifier.verify(running.token("ann"))


async def eventually_ready(verifier: TokenVerifier) -> None:
    async def is_ready() -> bool:
        try:
            await verifier.ready()
        except UpstreamUnavailable:
            return False
        return True

    await eventually(is_ready)


async def test_an_issuer_that_is_away_at_start_is_named_and_the_others_work(running: Issuer) -> None:
    port = free_port()
    away = f"http://127.0.0.1:{port}"
    late = IssuerKeys(TrustedIssuer(away, AUDIENCE, ("ES256",)))
    async with open_verifier([by_address(running), late], refresh=QUICK) as verifier:
        assert await verifier.verify(running.token("ann"))
        with pytest.raises(UpstreamUnavailable, match=away):
            await verifier.ready()
        with pytest.raises(UpstreamUnavailable):
            await verifier.verify(running.token("ann", iss=away))
        with issuer(port) as arrived:
            await eventually_ready(verifier)
            assert await verifier.verify(arrived.token("ann", iss=away))


async def test_a_new_key_is_found_at_once_and_a_withdrawn_one_ends(running: Issuer) -> None:
    new = Issuer(running.jwks_url, SigningKey(b"\x08" * 32))
    old_token = running.token("ann")
    async with open_verifier([by_address(running)], refresh=QUICK) as verifier:
        await verifier.verify(old_token)
        running.publication.keys[:] = [dict(new.key.public_jwk)]
        await asyncio.sleep(QUICK.cooldown_seconds)
        assert await verifier.verify(new.token("ann"))
        assert verifier.cached(old_token) is None
        with pytest.raises(Unauthenticated, match="does not publish"):
            await verifier.verify(old_token)


async def test_a_withdrawn_key_ends_though_nobody_brings_a_new_one(running: Issuer) -> None:
    async with open_verifier([by_address(running)], refresh=QUICK) as verifier:
        token = running.token("ann")
        await verifier.verify(token)
        running.publication.keys[:] = [dict(SigningKey(b"\x08" * 32).public_jwk)]

        async def is_refused() -> bool:
            try:
                await verifier.verify(running.token("ann"))
            except Unauthenticated:
                return True
            return False

        await eventually(is_refused)
        assert verifier.cached(token) is None


async def test_many_who_wait_share_one_request_and_none_of_them_ends_it_by_leaving(running: Issuer) -> None:
    running.publication.mode = "hanging"
    async with open_verifier([by_address(running)]) as verifier:
        waiting = [asyncio.create_task(verifier.verify(running.token(f"user{number}"))) for number in range(20)]

        async def asked() -> int:
            return running.publication.asked[JWKS]

        await eventually(asked)
        waiting[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting[0]
        running.publication.released.set()
        names = [(await task).subject for task in waiting[1:]]
    assert names == [f"user{number}" for number in range(1, 20)]
    assert running.publication.asked[JWKS] == 1


async def test_the_loop_goes_on_while_an_issuer_hangs(running: Issuer) -> None:
    running.publication.mode = "hanging"
    async with open_verifier([by_address(running)], fetch_seconds=0.5) as verifier:
        waiting = asyncio.create_task(verifier.verify(running.token("ann")))
        longest, before = 0.0, time.monotonic()
        while not waiting.done():
            await asyncio.sleep(0.001)
            longest, before = max(longest, time.monotonic() - before), time.monotonic()
        with pytest.raises(UpstreamUnavailable):
            await waiting
    assert longest < 0.25


async def test_closing_does_not_wait_for_an_issuer_that_hangs(running: Issuer) -> None:
    running.publication.mode = "hanging"
    begun = time.monotonic()
    async with open_verifier([by_address(running)]):
        pass
    assert time.monotonic() - begun < 1
