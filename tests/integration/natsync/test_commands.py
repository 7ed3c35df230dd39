"""`natsync plan`, `apply` and `status` while no service runs, on a real PocketBase and nats-server."""

import re
from collections.abc import AsyncGenerator, Generator

import pytest
from typer.testing import CliRunner

from natsync.__main__ import cli
from natsync.core.claims import AccountClaims, account_body, encode
from natsync.core.claims.keys import KeyKind
from tests.integration.natsync.test_bootstrap import snapshot
from tests.servers.nats_operator import new_key
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, refused, stack, tenants_of

COMMANDS = {
    "serve",
    "bootstrap",
    "plan",
    "apply",
    "status",
    "export",
    "rekey",
    "import-nsc",
    "import-pbnats",
    "settings",
}
ROWS = ("nats_accounts", "nats_roles", "nats_users", "nats_system_operator", "natsync_keys", "natsync_queue")
SECRET = re.compile(r"\bS[OAU][A-Z2-7]{56}\b|eyJ")


@pytest.fixture(scope="module")
def still() -> Generator[Stack]:
    """PocketBase and nats-server run, natsync does not."""
    with stack() as fresh:
        assert fresh.command("bootstrap").returncode == 0
        prepare(fresh.pocketbase)
        with fresh.nats():
            assert fresh.command("apply").returncode == 0
            yield fresh


@pytest.fixture
async def tenants(still: Stack) -> AsyncGenerator[Tenants]:
    async with tenants_of(still) as made:
        yield made


async def rows(tenants: Tenants) -> list[object]:
    return [row for name in ROWS for row in await tenants.control.records(name)]


async def credentials(tenants: Tenants, user: str) -> str:
    return (await tenants.control.record("nats_users", user))["creds_file"]


def test_every_command_says_what_it_is_for() -> None:
    runner = CliRunner()
    overview = runner.invoke(cli, ["--help"]).output
    assert set(re.findall(r"^\W*([a-z]+(?:-[a-z]+)?)  ", overview, re.MULTILINE)) >= COMMANDS
    for name in COMMANDS:
        shown = runner.invoke(cli, [name, "--help"])
        assert shown.exit_code == 0
        assert f"Usage: natsync {name}" in shown.output.replace("root", "natsync") or name in shown.output


async def test_a_plan_says_exactly_what_differs_and_writes_nothing(still: Stack, tenants: Tenants) -> None:
    account, role = await tenants.account("acme"), await tenants.role()
    user = await tenants.user(account, role, nats_username="sensor")
    broken = await tenants.role("nonsense")
    before, stored = await rows(tenants), snapshot(still.home / "nats" / "resolver")
    planned = still.command("plan", "--exit-code")
    assert planned.returncode == 3, planned.stderr
    assert f"publish account acme ({account['id']})" in planned.stdout
    assert "    not on the servers" in planned.stdout
    assert f"issue to user sensor ({user['id']}) in account {account['id']}: new" in planned.stdout
    assert f"set aside nats_roles/{broken['id']}" in planned.stdout
    assert not SECRET.search(planned.stdout)
    assert (await rows(tenants), snapshot(still.home / "nats" / "resolver")) == (before, stored)

    applied = still.command("apply")
    assert (applied.returncode, applied.stderr) == (0, "")
    assert "published: 1" in applied.stdout
    async with connected_with(still.nats_url, await credentials(tenants, user["id"])):
        pass
    await tenants.control.delete("nats_roles", broken["id"])
    assert "Nothing to do." in settled(still)


def settled(still: Stack) -> str:
    """What is planned once triggers that were cleared are known to stay so."""
    planned = still.command("plan", "--exit-code")
    if planned.returncode != 0:
        assert still.command("apply").returncode == 0
        planned = still.command("plan", "--exit-code")
    assert planned.returncode == 0, planned.stdout
    return planned.stdout


async def test_a_plan_names_every_part_of_an_account_that_changes_and_who_is_cut_off(
    still: Stack, tenants: Tenants
) -> None:
    account, role = await tenants.account("limited"), await tenants.role()
    leaver = await tenants.user(account, role)
    assert still.command("apply").returncode == 0
    creds = await credentials(tenants, leaver["id"])
    key = (await tenants.control.record("nats_users", leaver["id"]))["public_key"]
    await tenants.control.update("nats_accounts", account["id"], {"max_connections": 3})
    await tenants.control.delete("nats_users", leaver["id"])
    planned = still.command("plan").stdout
    assert "    limits.conn: -1 -> 3\n" in planned
    assert f"    revokes {key}" in planned
    assert f"forget user {leaver['id']}" in planned
    async with connected_with(still.nats_url, creds):  # nothing of it has happened yet
        pass
    assert still.command("apply").returncode == 0
    assert await refused(still.nats_url, creds)


async def test_only_accounts_that_natsync_made_are_removed(still: Stack, tenants: Tenants) -> None:
    account, role = await tenants.account("leaving"), await tenants.role()
    user = await tenants.user(account, role)
    assert still.command("apply").returncode == 0
    key = (await tenants.control.record("nats_accounts", account["id"]))["public_key"]
    foreign = await pushed_by_another(still, tenants)
    await tenants.control.delete("nats_users", user["id"])
    await tenants.control.delete("nats_accounts", account["id"])
    planned = still.command("plan").stdout
    assert f"remove account leaving ({account['id']}) {key}" in planned
    assert f"not ours, left alone: account {foreign}" in planned
    assert still.command("apply").returncode == 0
    resolver = still.home / "nats" / "resolver"
    assert not (resolver / f"{key}.jwt").exists()
    assert (resolver / f"{foreign}.jwt").exists()


async def pushed_by_another(still: Stack, tenants: Tenants) -> str:
    """Of the same operator, as `nsc push` would."""
    from pydantic import SecretStr

    from common.serving.settings import key_bytes
    from natsync.adapters.keyring import Keyring
    from natsync.adapters.pocketbase_ledger import PocketBaseLedger

    operator = await PocketBaseLedger(tenants.control).operator()
    assert operator
    key = new_key(KeyKind.ACCOUNT)
    signer = Keyring(key_bytes(SecretStr("k" * 43))).signer(operator)
    token = encode(account_body(AccountClaims()), subject=key.public_key, name="x", issuer=signer, issued_at=1)
    async with connected_with(still.nats_url, still.directory / "creds" / "sys.creds", name="sys") as system:
        await system.client.request("$SYS.REQ.CLAIMS.UPDATE", token.encode(), timeout=5)
    return key.public_key


async def test_status_tells_how_far_every_account_is_and_ends_with_1_while_one_is_not(
    still: Stack, tenants: Tenants
) -> None:
    account, role = await tenants.account("late"), await tenants.role()
    await tenants.user(account, role)
    waiting = still.command("status")
    assert waiting.returncode == 1
    assert re.search(rf"late +{account['id']} +new +1 +1", waiting.stdout)
    assert still.command("apply").returncode == 0
    assert still.command("apply").returncode == 0
    done = still.command("status")
    assert re.search(rf"late +{account['id']} +synced +1 +0", done.stdout)
    assert "NATS servers: pocketwire" in done.stdout
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("command", ["plan", "apply", "status"])
def test_without_nats_that_is_said_in_one_line(still: Stack, command: str) -> None:
    done = still.command(command, NATS_URL="nats://127.0.0.1:9", NATSYNC_WAIT_SECONDS="1")
    assert done.returncode == 1
    assert done.stderr.startswith(f"natsync {command}: ")
    assert done.stderr.count("\n") == 1
    assert "NATS" in done.stderr


def test_the_settings_are_printed_as_the_reference_has_them(still: Stack) -> None:
    shown = still.command("settings").stdout
    assert "| `NATSYNC_ENCRYPTION_KEY` | required |" in shown
