"""Another encryption key for everything that is stored, and a wrong one at the start."""

import subprocess
from collections.abc import AsyncGenerator, Generator

import pytest
from pydantic import SecretStr

from common.serving.settings import key_bytes
from natsync.adapters.pocketbase_ledger import PocketBaseLedger
from natsync.core.state.ledger import to_keys
from natsync.core.state.sealing import SealBroken, unseal
from tests.eventually import eventually
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, refused, stack, tenants_of

OLD, NEW = "k" * 43, "n" * 43


def raw(key: str) -> bytes:
    return key_bytes(SecretStr(key))


@pytest.fixture
def still() -> Generator[Stack]:
    with stack() as fresh:
        assert fresh.command("bootstrap").returncode == 0
        prepare(fresh.pocketbase)
        with fresh.nats():
            yield fresh


@pytest.fixture
async def tenants(still: Stack) -> AsyncGenerator[Tenants]:
    async with tenants_of(still) as made:
        yield made


def rekeyed(still: Stack, *, old: str = OLD, new: str = NEW) -> subprocess.CompletedProcess[str]:
    return still.command("rekey", NATSYNC_OLD_ENCRYPTION_KEY=old, NATSYNC_ENCRYPTION_KEY=new)


async def secrets(tenants: Tenants) -> list[str]:
    """Everything sealed, wherever it stands."""
    found: list[str] = []
    for collection in ("natsync_keys", "nats_system_operator", "nats_accounts", "nats_users"):
        for row in await tenants.control.records(collection):
            found += [value for value in row.values() if isinstance(value, str) and value.startswith("enc::")]
        if collection == "natsync_keys":
            kept = [key for row in await tenants.control.records(collection) for key in to_keys(row["older_keys"])]
            found += [sealed for key in kept for sealed in (key.seed, key.private_key)]
    return found


def opens(sealed: str, key: str) -> bool:
    try:
        unseal(sealed, key=raw(key))
    except SealBroken:
        return False
    return True


async def test_everything_is_sealed_anew_and_goes_on_under_the_new_key(still: Stack, tenants: Tenants) -> None:
    with still.serving():
        account, _, user, creds = await tenants.someone()
        await tenants.control.update("nats_accounts", account["id"], {"add_signing_key": True})
        await tenants.synced(account, add_signing_key=False)
        await eventually(
            lambda: PocketBaseLedger(tenants.control).entries(),
            lambda found: any(entry.older_keys for entry in found.of_kind("account")),
        )
    done = rekeyed(still)
    assert (done.returncode, done.stderr) == (0, "")
    stored = await secrets(tenants)
    assert len(stored) > 20
    assert all(opens(sealed, NEW) and not opens(sealed, OLD) for sealed in stored)

    refusal = still.command("serve")
    assert refusal.returncode == 2
    assert "rekey" in refusal.stderr
    assert refusal.stderr.count("\n") == 1
    still.environment["NATSYNC_ENCRYPTION_KEY"] = NEW
    with still.serving():
        async with connected_with(still.nats_url, creds):
            pass
        await tenants.control.update("nats_users", user["id"], {"revoke": True})
        fresh = await tenants.credentials(user, other_than=creds)
        assert await refused(still.nats_url, creds)
        async with connected_with(still.nats_url, fresh):
            pass


async def test_interrupted_it_starts_with_neither_key_and_goes_on_when_it_is_run_again(
    still: Stack, tenants: Tenants
) -> None:
    ledger = PocketBaseLedger(tenants.control)
    operator = await ledger.operator()
    assert operator
    await ledger.mark(operator, "rekeying")
    for key in (OLD, NEW):
        refusal = still.command("serve", NATSYNC_ENCRYPTION_KEY=key)
        assert refusal.returncode == 2
        assert "run `natsync rekey` again" in refusal.stderr
    assert rekeyed(still).returncode == 0
    assert rekeyed(still).returncode == 0
    still.environment["NATSYNC_ENCRYPTION_KEY"] = NEW
    with still.serving():
        await tenants.someone()


@pytest.mark.parametrize(("old", "new"), [("w" * 43, NEW), ("", NEW)])
async def test_with_a_key_that_opens_nothing_nothing_is_written(
    still: Stack, tenants: Tenants, old: str, new: str
) -> None:
    before = await secrets(tenants)
    done = rekeyed(still, old=old, new=new)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert all(key not in done.stderr for key in (NEW, OLD, "w" * 43))
    assert await secrets(tenants) == before
    assert still.command("bootstrap").returncode == 0


def test_a_wrong_key_refuses_to_start(still: Stack) -> None:
    for command, code in (("serve", 2), ("bootstrap", 1), ("apply", 1), ("plan", 1)):
        done = still.command(command, NATSYNC_ENCRYPTION_KEY="w" * 43)
        assert done.returncode == code, (command, done.stderr)
        assert done.stderr.count("\n") == 1
