"""A user's way through everything, and what an attacker meets instead."""

import re
import ssl

import httpx
import pytest

from tests.journeys.journey import walk
from tests.servers.platform import RunningPlatform

ADMIN_SURFACES = [
    ("GET", "/_/"),
    ("GET", "/_/#/settings"),
    ("GET", "/api/settings"),
    ("PATCH", "/api/settings"),
    ("GET", "/api/backups"),
    ("POST", "/api/backups"),
    ("POST", "/api/sql"),
    ("GET", "/api/logs"),
    ("GET", "/api/logs/stats"),
    ("GET", "/api/crons"),
    ("GET", "/api/collections"),
    ("POST", "/api/collections"),
    ("GET", "/api/collections/users"),
    ("PATCH", "/api/collections/users"),
    ("PUT", "/api/collections/import"),
    ("DELETE", "/api/collections/users/truncate"),
    ("GET", "/api/collections/meta/scaffolds"),
]
SECRET_SHAPES = re.compile(r"eyJ[\w-]{20,}\.[\w-]*|\bS[AOU][A-Z2-7]{50,}")


async def test_a_user_gets_through_everything(platform: RunningPlatform) -> None:
    steps = [seen.step async for seen in walk(platform.home.address)]
    assert len(steps) == 13, steps


def superuser_token(platform: RunningPlatform) -> str:
    address = platform.home.address
    answer = httpx.post(
        f"{address.pocketbase_url}/api/collections/_superusers/auth-with-password",
        json={"identity": address.superuser_email, "password": address.superuser_password},
    )
    return answer.json()["token"]


@pytest.mark.parametrize("with_token", [False, True], ids=["guest", "superuser token"])
@pytest.mark.parametrize(("method", "path"), ADMIN_SURFACES)
def test_the_admin_api_is_refused_in_pocketbases_shape(
    platform: RunningPlatform, method: str, path: str, *, with_token: bool
) -> None:
    headers = {"Authorization": superuser_token(platform)} if with_token else {}
    answer = httpx.request(method, platform.home.address.url + path, headers=headers)
    assert answer.status_code == 403
    assert answer.json()["status"] == 403
    assert set(answer.json()) == {"data", "message", "status"}


def test_the_superuser_cannot_log_in_through_the_domain(platform: RunningPlatform) -> None:
    address = platform.home.address
    for collection in ("_superusers", "_SUPERUSERS", "%5fsuperusers", "pbc_3142635823"):
        answer = httpx.post(
            f"{address.url}/api/collections/{collection}/auth-with-password",
            json={"identity": address.superuser_email, "password": address.superuser_password},
        )
        assert answer.status_code == 403, collection
        assert "token" not in answer.json()


def test_the_platform_is_reached_over_https_with_caddys_own_authority(platform: RunningPlatform) -> None:
    root = platform.home.data / "caddy" / "pki" / "authorities" / "local" / "root.crt"
    port = platform.home.settings.https_port
    answer = httpx.get(f"https://localhost:{port}/api/health", verify=ssl.create_default_context(cafile=root))
    assert answer.status_code == 200


def test_operations_are_not_reachable_through_the_domain(platform: RunningPlatform) -> None:
    for path in ("/metrics", "/livez", "/nats/metrics", "/nats/livez"):
        assert httpx.get(platform.home.address.url + path).status_code in (401, 403, 404), path


def test_health_is_one_line_a_part_and_says_nothing_else(platform: RunningPlatform) -> None:
    answer = httpx.get(f"{platform.home.address.url}/readyz")
    assert answer.status_code == 200
    lines = dict(line.split(" ", 1) for line in answer.text.strip().splitlines())
    assert {"gateway", "natsync", "chathub"} <= set(lines)
    assert set(lines.values()) == {"ok"}


def test_only_caddy_listens_beyond_loopback(platform: RunningPlatform) -> None:
    settings = platform.home.settings
    ours = {number for name, number in settings if name.endswith("_port")}
    beyond = {port for address, port in listening() if port in ours and address not in ("0100007F", LOOPBACK_6)}
    assert beyond == {settings.http_port, settings.https_port}


LOOPBACK_6 = "00000000000000000000000001000000"
LISTEN = "0A"


def listening() -> set[tuple[str, int]]:
    found: set[tuple[str, int]] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with open(table) as rows:  # noqa: PTH123 - a kernel table
            for row in rows.readlines()[1:]:
                columns = row.split()
                address, port = columns[1].split(":")
                if columns[3] == LISTEN:
                    found.add((address, int(port, 16)))
    return found


def test_a_token_in_a_query_does_not_reach_the_access_log(platform: RunningPlatform) -> None:
    address = platform.home.address
    httpx.get(f"{address.url}/ws?token=very-secret-token&x=seen-in-log")
    log = (platform.home.data / "logs" / "caddy.log").read_text()
    assert "seen-in-log" in log
    assert "very-secret-token" not in log


async def test_no_secret_reaches_a_log(platform: RunningPlatform) -> None:
    async for _ in walk(platform.home.address):
        pass
    env = (platform.home.folder / ".env").read_text()
    secrets = [
        line.split("=", 1)[1]
        for line in env.splitlines()
        if "=" in line and not line.startswith(("PLATFORM_ADMIN_EMAIL", "POCKETBASE_SUPERUSER_EMAIL"))
    ]
    assert len(secrets) == 8
    for log in (platform.home.data / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not SECRET_SHAPES.search(text), (log.name, SECRET_SHAPES.search(text))
        assert not any(secret in text for secret in secrets), log.name


def test_secrets_on_disk_are_private(platform: RunningPlatform) -> None:
    assert (platform.home.folder / ".env").stat().st_mode & 0o777 == 0o600
    creds = list((platform.home.data / "natsync" / "creds").glob("*.creds"))
    assert len(creds) >= 4
    assert all(file.stat().st_mode & 0o777 == 0o600 for file in creds)
