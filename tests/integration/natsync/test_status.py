"""The HTTP API and the operations listener."""

from typing import Any

import httpx
import pytest

from common.core.tokens import SigningKey
from tests.eventually import eventually
from tests.servers.issuer import Issuer
from tests.servers.natsync import Stack, Tenants


def token(issuer: Issuer, role: str = "admin", **changed: Any) -> str:
    return issuer.token("someone", role, **{"aud": ["natsync"], **changed})


async def ask(natsync: Stack, bearer: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
    async with httpx.AsyncClient(base_url=natsync.url, trust_env=False) as client:
        return await client.get("/nats/status", headers=headers)


async def test_an_admin_sees_how_far_every_account_has_come(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    account, *_ = await tenants.someone()

    async def seen() -> dict[str, Any]:
        report = (await ask(natsync, token(platform_issuer))).json()
        return next(entry for entry in report["accounts"] if entry["id"] == account["id"])

    report = await eventually(seen, lambda entry: entry["users"] == 1 and entry["sync_status"] == "synced")
    assert report["verified_at"] > 0


async def test_nobody_else_does(natsync: Stack, platform_issuer: Issuer) -> None:
    stranger = Issuer(platform_issuer.jwks_url, SigningKey(b"\x08" * 32))
    assert (await ask(natsync, "")).status_code == 401
    assert (await ask(natsync, "nonsense")).status_code == 401
    assert (await ask(natsync, token(stranger))).status_code == 401
    assert (await ask(natsync, token(platform_issuer, aud=["chathub"]))).status_code == 401
    assert (await ask(natsync, token(platform_issuer, exp=1))).status_code == 401
    assert (await ask(natsync, token(platform_issuer, "moderator"))).status_code == 403


async def test_it_is_ready_once_a_pass_went_through(natsync: Stack) -> None:
    async with httpx.AsyncClient(base_url=natsync.operations_url, trust_env=False) as client:

        async def probes() -> dict[str, str]:
            return (await client.get("/readyz")).json()["probes"]

        assert await eventually(probes, lambda found: set(found.values()) == {"ok"})


@pytest.mark.parametrize("path", ["/", "/docs", "/openapi.json", "/metrics", "/nats", "/nats/accounts"])
async def test_nothing_else_is_served(natsync: Stack, path: str) -> None:
    async with httpx.AsyncClient(base_url=natsync.url, trust_env=False) as client:
        assert (await client.get(path)).status_code == 404


async def test_nothing_is_written_while_nothing_changes(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    await tenants.someone()
    collections = ("nats_accounts", "nats_roles", "nats_users", "natsync_keys", "nats_system_operator")

    async def stamps() -> list[str]:
        return [row["id"] + row["updated"] for name in collections for row in await tenants.control.records(name)]

    async def passes() -> int:
        return (await ask(natsync, token(platform_issuer))).json()["last_pass"]["passes"]

    async def unchanged_over_two_passes() -> bool:
        before, counted = await stamps(), await passes()
        await eventually(passes, lambda now: now >= counted + 2, seconds=30)
        return before == await stamps()

    await eventually(unchanged_over_two_passes, seconds=60)
