"""What `natsync bootstrap` leaves behind, and that doing it again changes nothing."""

from dataclasses import replace
from pathlib import Path

from pydantic import SecretStr

from common.serving.settings import key_bytes
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_rows import PocketBaseRows
from natsync.core import claims
from natsync.core.claims import Permissions
from natsync.core.claims.creds_file import render
from tests.eventually import eventually
from tests.servers.natsync import Stack, Tenants, connected_with

COLLECTIONS = ("nats_system_operator", "nats_accounts", "nats_roles", "nats_users", "natsync_keys")


def snapshot(directory: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


async def stored(tenants: Tenants) -> list[object]:
    rows: list[object] = [row for name in COLLECTIONS for row in await tenants.control.records(name)]
    return [*rows, await tenants.control.collections()]


async def test_a_second_run_changes_nothing(natsync: Stack, tenants: Tenants) -> None:
    async def still() -> bool:
        files, rows = snapshot(natsync.directory), await stored(tenants)
        done = natsync.command("bootstrap")
        assert (done.returncode, done.stdout) == (0, "natsync bootstrap: done\n")
        return (files, rows) == (snapshot(natsync.directory), await stored(tenants))

    assert await eventually(still, seconds=30)


def test_secrets_are_for_the_owner_alone(natsync: Stack) -> None:
    for path in natsync.directory.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    names = {path.name for path in natsync.directory.rglob("*") if path.is_file()}
    assert names == {
        "operator.jwt",
        "nats.conf",
        "sys.creds",
        "gateway.creds",
        "natsync.creds",
        "chathub.creds",
        "callout.creds",
    }


async def test_the_operator_row_shows_what_the_servers_trust(natsync: Stack, tenants: Tenants) -> None:
    (row,) = await tenants.control.records("nats_system_operator")
    token = (natsync.directory / "operator.jwt").read_text()
    said = claims.read(token)
    assert (row["jwt"], row["public_key"]) == (token, said["sub"])
    assert said["nats"]["signing_keys"] == [row["signing_public_key"]]


async def test_what_is_missing_or_loosened_is_put_right_and_the_owners_own_is_kept(
    natsync: Stack, tenants: Tenants
) -> None:
    path = "/api/collections/nats_accounts"
    collection = await tenants.control.request("GET", path)
    own = {"name": "billing_code", "type": "text"}
    exposed = [{**field, "hidden": False} for field in collection["fields"] if field["name"] != "description"]
    await tenants.control.request("PATCH", path, {"fields": [*exposed, own], "updateRule": ""})
    assert natsync.command("bootstrap").returncode == 0
    after = await tenants.control.request("GET", path)
    fields = {field["name"]: field for field in after["fields"]}
    assert after["updateRule"] == collection["updateRule"]
    assert {"billing_code", "description"} <= fields.keys()
    assert fields["seed"]["hidden"]


async def test_a_wrong_encryption_key_is_said_and_changes_nothing(natsync: Stack, tenants: Tenants) -> None:
    files = snapshot(natsync.directory)
    done = natsync.command("bootstrap", NATSYNC_ENCRYPTION_KEY="x" * 43)
    assert done.returncode == 1
    assert done.stderr.startswith("natsync bootstrap: A secret cannot be opened with NATSYNC_ENCRYPTION_KEY. ")
    assert done.stderr.count("\n") == 1
    assert snapshot(natsync.directory) == files


def test_a_misspelt_setting_is_named_in_one_line(natsync: Stack) -> None:
    done = natsync.command("serve", NATSYNC_SWEEP_SECOND="5")
    assert (done.returncode, done.stderr) == (2, "natsync: unknown settings: NATSYNC_SWEEP_SECOND\n")


def test_an_absent_pocketbase_is_waited_for_and_then_said(natsync: Stack) -> None:
    done = natsync.command("bootstrap", POCKETBASE_URL="http://127.0.0.1:9", NATSYNC_WAIT_SECONDS="0.3")
    assert done.returncode == 1
    assert done.stderr == "natsync bootstrap: PocketBase did not answer within 0.3 s.\n"


async def test_a_service_whose_token_allows_more_than_it_should_is_cut_back(natsync: Stack, tenants: Tenants) -> None:
    """As after an upgrade that takes subjects away: the old token stops working and a later one is written."""
    rows, keyring = PocketBaseRows(tenants.control), Keyring(key_bytes(SecretStr("k" * 43)))
    entries = await rows.entries()
    chathub, platform = entries.by_place["service", "chathub"], entries.by_place["account", "PLATFORM"]
    everything = Permissions((">",), (">",))
    body = claims.user_body(claims.UserClaims(everything), account=platform.public_key)
    wide = claims.encode(
        body,
        subject=chathub.public_key,
        name="chathub",
        issuer=keyring.signer(platform),
        issued_at=chathub.last_iat + 1,
    )
    await rows.keep(replace(chathub, jwt=wide, content="of an earlier version", last_iat=chathub.last_iat + 1))
    async with connected_with(natsync.nats_url, render(wide, keyring.identity(chathub).seed)) as live:
        assert natsync.command("bootstrap").returncode == 0
        await live.is_cut()
    path = natsync.directory / "creds" / "chathub.creds"
    assert wide not in path.read_text()
    async with connected_with(natsync.nats_url, path, name="chathub") as fresh:
        await fresh.client.subscribe(">")
        await fresh.is_refused(">")
