"""Health, metrics, cross-origin answers and the command line."""

import os
import subprocess
import sys

import httpx
import pytest

from tests.raw_http import ask_raw
from tests.servers.gateway import GatewayServer
from tests.servers.pocketbase import PocketBaseServer


async def test_a_preflight_is_answered_here_with_what_pocketbase_would_grant(
    client: httpx.AsyncClient, guarded: PocketBaseServer
) -> None:
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PATCH",
        "Access-Control-Request-Headers": "authorization,content-type,x-tenant",
    }
    path = "/api/collections/users/records"
    ours = await client.options(path, headers=asked)
    theirs = await client.options(f"{guarded.url}{path}", headers=asked)
    assert ours.status_code == theirs.status_code == 204
    for name in ("access-control-allow-origin", "access-control-allow-methods", "access-control-allow-headers"):
        assert ours.headers[name] == theirs.headers[name]
    assert "access-control-allow-credentials" not in ours.headers


@pytest.mark.parametrize("path", ["/api/health", "/api/settings", "/nope", "/readyz", "/api/collections/x/records"])
async def test_every_answer_admits_every_origin_once(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Origin": "https://app.example"})
    assert answer.headers.get_list("access-control-allow-origin") == ["*"]


async def test_metrics_are_for_operators_and_count_by_kind(gateway: GatewayServer, client: httpx.AsyncClient) -> None:
    await client.get("/api/health")
    await client.request("BREW", "/api/health")
    assert (await client.get("/metrics")).status_code == 404
    metrics = (await client.get(f"{gateway.operations_url}/metrics")).text
    assert 'gateway_requests_total{method="GET",route="health",status="2xx"}' in metrics
    assert "BREW" not in metrics


async def test_a_websocket_is_turned_away(gateway: GatewayServer) -> None:
    answer = await ask_raw(
        gateway.url,
        "GET",
        "/api/realtime",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    )
    assert answer.status in (400, 403)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gateway", *arguments],
        env={"PATH": os.defpath, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_settings_at_fault_are_one_line_that_repeats_no_value() -> None:
    done = run("serve", GATEWAY_SIGNING_KEY="too-short-a-key", GATEWAY_ISSUER="http://localhost")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "GATEWAY_SIGNING_KEY" in done.stderr
    assert "GATEWAY_SESSION_KEY" in done.stderr
    assert "too-short-a-key" not in done.stderr


def test_the_settings_print_as_a_table() -> None:
    done = run("settings")
    assert done.returncode == 0
    assert "| `GATEWAY_ISSUER` | required |" in done.stdout
    assert "| `POCKETBASE_URL` |" in done.stdout
