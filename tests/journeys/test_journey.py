"""A user's way through everything, and what an attacker meets instead."""

import re
import secrets
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
    assert len(steps) == 16, steps


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


@pytest.mark.parametrize("path", ["/ws?token={}", "/ws?ToKeN={}", "/nats/ws?jwt={}", "/ws/{}", "/api/health?filter={}"])
def test_a_token_in_an_address_does_not_reach_the_access_log(platform: RunningPlatform, path: str) -> None:
    address = platform.home.address
    token = f"eyJhbGciOiJFUzI1NiJ9.{secrets.token_hex(8)}.signature"
    httpx.get(address.url + path.format(token), headers={"Referer": f"https://x/?{token}", "User-Agent": "journey"})
    log = (platform.home.data / "logs" / "caddy.log").read_text()
    assert path.split("?")[0].removesuffix("/{}") in log
    assert token not in log


async def test_no_secret_reaches_a_log(platform: RunningPlatform) -> None:
    async for _ in walk(platform.home.address):
        pass
    env = (platform.home.folder / ".env").read_text()
    values = [
        line.split("=", 1)[1]
        for line in env.splitlines()
        if "=" in line and not line.startswith(("PLATFORM_ADMIN_EMAIL", "POCKETBASE_SUPERUSER_EMAIL"))
    ]
    assert len(values) == 8
    for log in (platform.home.data / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not SECRET_SHAPES.search(text), (log.name, SECRET_SHAPES.search(text))
        assert not any(value in text for value in values), log.name


def test_state_on_disk_is_private(platform: RunningPlatform) -> None:
    assert (platform.home.folder / ".env").stat().st_mode & 0o777 == 0o600
    folders = [path for path in platform.home.data.iterdir() if path.is_dir()]
    assert len(folders) >= 8
    assert not [path for path in folders if path.stat().st_mode & 0o077]
    secret = [path for path in platform.home.data.rglob("*") if path.is_file() and path.parent != platform.home.data]
    assert not [path for path in secret if path.stat().st_mode & 0o077]
