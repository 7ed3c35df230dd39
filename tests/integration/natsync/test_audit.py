"""Who, what and why: kept where nobody can change it; how far every account is; and no secret in any of it."""

import json
import re
from typing import Any

import httpx
import nats.errors
import nats.js.errors
import pytest
from nats.aio.client import Client
from pydantic import SecretStr

from common.core import subjects
from common.core.pocketbase_answers import Record
from common.serving.settings import key_bytes
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_ledger import PocketBaseLedger
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import Permissions, UserClaims, user_body
from tests.eventually import eventually
from tests.servers.issuer import Issuer
from tests.servers.nats_operator import new_key
from tests.servers.natsync import Connection, Stack, Tenants, connected_with

TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{20,}\.")
SEED = re.compile(r"\bS[OAUXC][A-Z2-7]{56}\b")


async def lines(client: Client) -> list[dict[str, Any]]:
    stream = client.jetstream(timeout=5)
    last = (await stream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
    messages = [await stream.get_msg(subjects.AUDIT_STREAM, number) for number in range(max(1, last - 50), last + 1)]
    return [line for message in messages for line in json.loads(message.data or b"{}")["lines"]]


def named(line: dict[str, Any]) -> set[str]:
    return {line.get("account", ""), line.get("user", ""), *line.get("users", ())}


async def asked(tenants: Tenants, verb: str, row: Record, **fields: Any) -> Record:
    action = {"verb": verb, "collection": row["collectionName"], "record": row["id"], **fields}
    made = await tenants.control.create("nats_actions", action)
    return await eventually(
        lambda: tenants.control.record("nats_actions", made["id"]), lambda seen: seen["status"] == "done"
    )


def reader(natsync: Stack) -> Any:
    return connected_with(natsync.nats_url, natsync.directory / "creds" / "natsync.creds", name="natsync")


async def test_who_asked_what_was_done_and_what_every_server_then_showed(natsync: Stack, tenants: Tenants) -> None:
    account, _, user, creds = await tenants.someone()
    key = (await tenants.control.record("nats_users", user["id"]))["public_key"]
    action = await asked(tenants, "suspend", user, requested_by="ann", reason="lost laptop")
    async with reader(natsync) as connection:

        async def told() -> list[dict[str, Any]]:
            return [line for line in await lines(connection.client) if {account["id"], user["id"]} & named(line)]

        def is_whole(found: list[dict[str, Any]]) -> bool:
            events = [line["event"] for line in found]
            return "user cut off" in events and "account published" in events[events.index("user cut off") :]

        found = await eventually(told, is_whole)
    by_event = {line["event"]: line for line in found}
    order = by_event["order carried out"]
    assert (order["action"], order["by"], order["reason"], order["verb"], order["user"]) == (
        action["id"],
        "ann",
        "lost laptop",
        "suspend",
        user["id"],
    )
    cut = by_event["user cut off"]
    assert (cut["account"], cut["public_key"], cut["why"]) == (account["id"], key, "suspended")
    said, done = by_event["account to be published"], by_event["account published"]
    assert said["desired"] == done["verified"] != ""
    assert said["revoked"] == [key]
    assert done["servers"] == {"pocketwire": "verified"}
    assert all(line["timestamp"] for line in found)
    new = by_event["credentials issued"]
    assert (new["why"], new["users"]) == ("new", [user["id"]])
    assert not SEED.search(str(found))
    assert creds.splitlines()[1] not in str(found)


async def owner_of_everything(tenants: Tenants) -> str:
    """Creds of a user who may do all there is in the platform's account: its operator."""
    entry = (await PocketBaseLedger(tenants.control).entries()).by_place["account", "PLATFORM"]
    user, signer = new_key(KeyKind.USER), Keyring(key_bytes(SecretStr("k" * 43))).signer(entry)
    body = user_body(UserClaims(Permissions((">",), (">",))), account=entry.public_key)
    return render(encode(body, subject=user.public_key, name="op", issuer=signer, issued_at=1), user.seed)


async def test_nobody_takes_anything_out_of_it(natsync: Stack, tenants: Tenants) -> None:
    await tenants.someone()
    async with reader(natsync) as own:
        before = await eventually(lambda: lines(own.client))
        for verb in ("DELETE", "PURGE", "UPDATE", "MSG.DELETE"):
            await own.client.publish(f"$JS.API.STREAM.{verb}.{subjects.AUDIT_STREAM}", b"{}")
            await own.is_refused(f"{verb}.{subjects.AUDIT_STREAM}")
        async with connected_with(natsync.nats_url, await owner_of_everything(tenants)) as operator:
            await refuses(operator)
        assert (await lines(own.client))[: len(before)] == before


async def refuses(operator: Connection) -> None:
    stream = operator.client.jetstream(timeout=5)
    with pytest.raises(nats.js.errors.APIError, match="not permitted"):
        await stream.delete_msg(subjects.AUDIT_STREAM, 1)
    with pytest.raises(nats.js.errors.APIError, match="not permitted"):
        await stream.purge_stream(subjects.AUDIT_STREAM)
    config = (await stream.stream_info(subjects.AUDIT_STREAM)).config
    config.deny_delete = config.deny_purge = False
    with pytest.raises(nats.js.errors.APIError):
        await stream.update_stream(config)


async def test_of_every_account_it_is_said_what_is_wanted_and_what_each_server_shows(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    account, *_ = await tenants.someone()
    headers = {"Authorization": f"Bearer {platform_issuer.token('root', 'admin', aud=['natsync'])}"}
    async with httpx.AsyncClient(base_url=natsync.url, trust_env=False, headers=headers) as http:

        async def seen() -> dict[str, Any]:
            listed = (await http.get("/nats/status")).json()["accounts"]
            return next(one for one in listed if one["id"] == account["id"])

        one = await eventually(seen, lambda said: said["sync_status"] == "synced" and said["published"])
        assert one["desired"] == one["published"]
        assert one["servers"] == {"pocketwire": "verified"}
        assert (one["attempts"], one["next_try_at"], one["failed_at"]) == (0, 0, 0)


async def test_what_passes_and_logins_come_to_is_counted(natsync: Stack, tenants: Tenants) -> None:
    await tenants.someone()
    text = (await operations(natsync, "/metrics")).text
    for name in (
        'natsync_passes_total{outcome="ok"}',
        "natsync_pass_seconds_count",
        'natsync_carried_out_total{what="published"}',
        'natsync_carried_out_total{what="issued"}',
        'natsync_accounts{state="synced"}',
        'natsync_users{state="active"}',
        "natsync_foreign_accounts",
        'natsync_publications_total{action="publish",outcome="verified"}',
        "natsync_publication_seconds_count",
        'natsync_nats_servers{state="present"}',
        'natsync_queue{state="failed"}',
    ):
        assert name in text, name


async def operations(natsync: Stack, path: str) -> httpx.Response:
    async with httpx.AsyncClient(base_url=natsync.operations_url, trust_env=False) as http:
        return await http.get(path)


async def test_no_seed_and_no_token_is_in_log_metrics_audit_events_status_or_plan(
    natsync: Stack, tenants: Tenants, platform_issuer: Issuer
) -> None:
    """After all that happens to users and accounts: they are issued, renewed, cut off, rotated, refused, removed."""
    admin = platform_issuer.token("root", "admin", aud=["natsync"])
    gateway = connected_with(natsync.nats_url, natsync.directory / "creds" / "gateway.creds", name="gateway")
    async with reader(natsync) as own, gateway as listener:
        events = await listener.hears(subjects.RECORDS)
        account, role, user, _ = await tenants.someone()
        broken = await tenants.user(account, role, publish_permissions="[nonsense")
        await tenants.synced(broken, sync_status="error")
        for verb in ("regenerate", "revoke"):
            await asked(tenants, verb, user)
        for verb in ("rotate_keys", "add_signing_key"):
            await asked(tenants, verb, account)
        for row in (broken, user, account):
            await tenants.control.delete(row["collectionName"], row["id"])
        heard: list[str] = []
        try:
            while len(heard) < 20:
                heard.append((await events.next_msg(timeout=1)).data.decode())
        except nats.errors.TimeoutError:
            assert heard
        headers = {"Authorization": f"Bearer {admin}"}
        async with httpx.AsyncClient(base_url=natsync.url, trust_env=False, headers=headers) as http:
            answers = [(await http.get(f"/nats/{path}")).text for path in ("status", "plan", "openapi.json")]
        audit = json.dumps(await lines(own.client))
    metrics = (await operations(natsync, "/metrics")).text
    log = (natsync.home / "natsync.log").read_text()
    places = {"log": log, "metrics": metrics, "audit": audit, "events": str(heard), "api": str(answers)}
    for place, text in places.items():
        assert not TOKEN.search(text), place
        assert not SEED.search(text), place
        assert natsync.environment["NATSYNC_ENCRYPTION_KEY"] not in text, place
        assert natsync.pocketbase.password not in text, place
