"""What nsc or pb-nats kept before, taken over while its users stay connected."""

from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from common.core.pocketbase_answers import Record
from natsync.core.claims.account_claims import AccountClaims, account_body
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.operator_claims import operator_body
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import Permissions, UserClaims, user_body
from natsync.core.state.sealing import seal
from tests.eventually import eventually
from tests.nsc_folder import NscAccount, NscFolder, key
from tests.servers.natsync import Stack, Tenants, connected_with, prepare, refused, stack, tenants_of

PBNATS_KEY = "0123456789abcdef0123456789abcdef"
ISSUED_AT = 1_700_000_000


@pytest.fixture
def empty() -> Generator[Stack]:
    """Only PocketBase is there, and nothing in it."""
    with stack() as fresh:
        yield fresh


@asynccontextmanager
async def going_on(taken_over: Stack) -> AsyncGenerator[Tenants]:
    """Bootstrapped after the import, and running."""
    with ExitStack() as running:
        done = taken_over.command("bootstrap")
        assert done.returncode == 0, done.stderr
        prepare(taken_over.pocketbase)
        running.enter_context(taken_over.nats())
        running.enter_context(taken_over.serving())
        async with tenants_of(taken_over) as tenants:
            yield tenants


async def until_let_in(stack: Stack, creds: str) -> None:
    async def let_in() -> bool:
        return not await refused(stack.nats_url, creds)

    await eventually(let_in)


async def named(tenants: Tenants, collection: str, field: str, name: str) -> Record:
    (row,) = await tenants.control.records(collection, filter=f'{field} = "{name}"')
    return row


async def test_the_users_of_nsc_go_on_with_the_credentials_they_have_and_follow_their_rows(
    empty: Stack, tmp_path: Path
) -> None:
    account = NscAccount("team", template=UserClaims(Permissions(("jobs.>",), ("jobs.>", "_INBOX.>"))))
    plain = account.user("plain", UserClaims(Permissions(("orders.>",), ("orders.>",))))
    scoped = account.user("scoped")
    folder = NscFolder(accounts=[account])
    store, keys = folder.written(tmp_path)
    done = empty.command("import-nsc", str(store), "--keys", str(keys))
    assert done.returncode == 0, done.stderr
    assert not [seed for seed in folder.seeds.values() if seed in done.stdout]
    again = empty.command("import-nsc", str(store), "--keys", str(keys))
    assert "keys: 0 of" in again.stdout

    async with going_on(empty) as tenants:
        await until_let_in(empty, plain)
        async with connected_with(empty.nats_url, plain) as live:
            await live.client.publish("orders.1", b"")
            await live.client.publish("jobs.1", b"")
            await live.is_refused("jobs.1")
        await until_let_in(empty, scoped)
        async with connected_with(empty.nats_url, scoped) as live:
            await live.client.publish("orders.1", b"")
            await live.is_refused("orders.1")
        row = await tenants.synced(await named(tenants, "nats_accounts", "name", "team"))
        assert row["public_key"] == account.identity.public_key
        operator = (empty.directory / "operator.jwt").read_text()
        assert operator == (await tenants.control.records("nats_system_operator"))[0]["jwt"]
        user = await named(tenants, "nats_users", "nats_username", "plain")
        async with connected_with(empty.nats_url, plain) as live:
            await tenants.control.update("nats_users", user["id"], {"active": False})
            await live.is_cut()
        worker = await named(tenants, "nats_users", "nats_username", "scoped")
        shown = await tenants.credentials(worker)
        await tenants.control.update("nats_accounts", row["id"], {"rotate_keys": True})
        await eventually(lambda: refused(empty.nats_url, scoped))
        async with connected_with(empty.nats_url, await tenants.credentials(worker, other_than=shown)):
            pass


async def test_a_store_that_cannot_be_taken_over_changes_nothing(empty: Stack, tmp_path: Path) -> None:
    done = empty.command("import-nsc", str(tmp_path), "--keys", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    folder = NscFolder()
    folder.lost = {folder.identity.public_key, folder.signer.public_key}
    store, keys = folder.written(tmp_path / "lost")
    done = empty.command("import-nsc", str(store), "--keys", str(keys))
    assert (done.returncode, done.stderr) == (
        1,
        "natsync import-nsc: No seed of the operator is there that may sign accounts.\n",
    )
    async with tenants_of(empty) as tenants:
        assert not [one for one in await tenants.control.collections() if one["name"].startswith("nats")]


async def test_another_operator_is_not_written_over(empty: Stack, tmp_path: Path) -> None:
    assert empty.command("bootstrap").returncode == 0
    operator = (empty.directory / "operator.jwt").read_text()
    store, keys = NscFolder().written(tmp_path)
    done = empty.command("import-nsc", str(store), "--keys", str(keys))
    assert done.returncode == 1
    assert "natsync has another operator already" in done.stderr
    assert empty.command("bootstrap").returncode == 0
    assert (empty.directory / "operator.jwt").read_text() == operator


class PbNatsBase:
    """A PocketBase as the first pb-nats left it: its collections, its rows, its operator's tokens."""

    def __init__(self, stack: Stack, *, is_sealed: bool) -> None:
        self.operator, self.signer = key(KeyKind.OPERATOR), key(KeyKind.OPERATOR)
        self.system, self.account, self.account_signer = (key(KeyKind.ACCOUNT) for _ in range(3))
        self.sys, self.user = key(KeyKind.USER), key(KeyKind.USER)
        self._stack = stack
        self._is_sealed = is_sealed

    def fill(self) -> str:
        """Returns the user's creds."""
        server = self._stack.pocketbase
        with httpx.Client(base_url=server.url, trust_env=False) as client:
            login = {"identity": server.email, "password": server.password}
            answer = client.post("/api/collections/_superusers/auth-with-password", json=login).raise_for_status()
            client.headers["Authorization"] = answer.json()["token"]
            self._collections(client)
            return self._rows(client)

    def _secret(self, text: str) -> str:
        return seal(text, key=PBNATS_KEY.encode(), nonce=b"n" * 12) if self._is_sealed else text

    def _keys(self, pair: KeyPair, signer: KeyPair | None = None) -> dict[str, str]:
        found = {
            "public_key": pair.public_key,
            "private_key": self._secret(pair.private_key),
            "seed": self._secret(pair.seed),
        }
        if signer is None:
            return found
        return {
            **found,
            "signing_public_key": signer.public_key,
            "signing_private_key": self._secret(signer.private_key),
            "signing_seed": self._secret(signer.seed),
        }

    def _collections(self, client: httpx.Client) -> None:
        keys = ["public_key", "private_key", "seed"]
        signing = [f"signing_{name}" for name in keys]
        account = ["name", "description", *keys, *signing, "jwt"]
        limits = ["max_subscriptions", "max_data", "max_payload"]
        more = ["max_connections", "max_jetstream_disk_storage", "max_jetstream_memory_storage"]
        made = self._made(client, "nats_system_operator", ["name", *keys, *signing, "jwt"])
        assert made
        accounts = self._made(client, "nats_accounts", account, [*limits, *more], ["active", "rotate_keys"])
        lists = ["publish_permissions", "subscribe_permissions"]
        roles = self._made(client, "nats_roles", ["name", "description", *lists], limits)
        related = [
            {"name": name, "type": "relation", "maxSelect": 1, "required": True, "collectionId": id}
            for name, id in (("account_id", accounts), ("role_id", roles))
        ]
        texts = [*keys, "nats_username", "description", "jwt", "creds_file"]
        self._made(client, "nats_users", texts, [], ["regenerate", "active"], more=related, kind="auth")

    def _made(
        self,
        client: httpx.Client,
        name: str,
        texts: list[str],
        numbers: list[str] | None = None,
        flags: list[str] | None = None,
        *,
        more: list[dict[str, Any]] | None = None,
        kind: str = "base",
    ) -> str:
        fields: list[dict[str, Any]] = [{"name": one, "type": "text", "max": 5000} for one in texts]
        fields += [{"name": one, "type": "number"} for one in numbers or []]
        fields += [{"name": one, "type": "bool"} for one in flags or []]
        body = {"name": name, "type": kind, "fields": [*fields, *(more or [])]}
        return client.post("/api/collections", json=body).raise_for_status().json()["id"]

    def _rows(self, client: httpx.Client) -> str:
        def row(collection: str, **fields: Any) -> str:
            answer = client.post(f"/api/collections/{collection}/records", json=fields)
            return answer.raise_for_status().json()["id"]

        body = operator_body(signing_keys=[self.signer.public_key], system_account=self.system.public_key)
        token = encode(
            body, subject=self.operator.public_key, name="stone-age.io", issuer=self.operator, issued_at=ISSUED_AT
        )
        row("nats_system_operator", name="stone-age.io", jwt=token, **self._keys(self.operator, self.signer))
        unlimited = dict.fromkeys(("max_connections", "max_subscriptions", "max_data", "max_payload"), -1)
        system = row("nats_accounts", name="System Account", active=True, **self._keys(self.system, self.system))
        said = account_body(AccountClaims(signing_keys=[self.account_signer.public_key]))
        jwt = encode(said, subject=self.account.public_key, name="acme", issuer=self.signer, issued_at=ISSUED_AT)
        keys = self._keys(self.account, self.account_signer)
        account = row("nats_accounts", name="Acme", active=True, jwt=jwt, **unlimited, **keys)
        limits = dict.fromkeys(("max_subscriptions", "max_data", "max_payload"), -1)
        role = row("nats_roles", name="sensor", publish_permissions='["sensors.>"]', **limits)
        creds = self._user_creds()
        login = {"password": "correct-horse", "passwordConfirm": "correct-horse"}
        row(
            "nats_users",
            email="sys@example.com",
            nats_username="sys",
            account_id=system,
            role_id=role,
            **login,
            **self._keys(self.sys),
        )
        row(
            "nats_users",
            email="device@example.com",
            nats_username="device",
            account_id=account,
            role_id=role,
            active=True,
            jwt=creds.splitlines()[1],
            creds_file=creds,
            **login,
            **self._keys(self.user),
        )
        return creds

    def _user_creds(self) -> str:
        claims = UserClaims(Permissions(("sensors.>",), (">", "_INBOX.>")))
        body = user_body(claims, account=self.account.public_key)
        token = encode(
            body, subject=self.user.public_key, name="device", issuer=self.account_signer, issued_at=ISSUED_AT
        )
        return render(token, self.user.seed)


@pytest.mark.parametrize("is_sealed", [False, True])
async def test_what_pb_nats_kept_is_taken_over_row_by_row(empty: Stack, is_sealed: bool) -> None:
    before = PbNatsBase(empty, is_sealed=is_sealed)
    creds = before.fill()
    refusal = empty.command("bootstrap")
    assert refusal.returncode == 1
    assert "natsync import-pbnats" in refusal.stderr
    if is_sealed:
        without = empty.command("import-pbnats")
        assert (without.returncode, "NATSYNC_PBNATS_ENCRYPTION_KEY is needed" in without.stderr) == (1, True)
    key_given = {"NATSYNC_PBNATS_ENCRYPTION_KEY": PBNATS_KEY} if is_sealed else {}
    for _ in range(2):
        done = empty.command("import-pbnats", **key_given)
        assert done.returncode == 0, done.stderr

    async with going_on(empty) as tenants:
        await until_let_in(empty, creds)
        account = await tenants.synced(await named(tenants, "nats_accounts", "name", "Acme"))
        assert account["public_key"] == before.account.public_key
        user = await named(tenants, "nats_users", "nats_username", "device")
        row = await tenants.synced(user)
        assert row["public_key"] == before.user.public_key
        assert row["seed"].startswith("enc::")
        async with connected_with(empty.nats_url, await tenants.credentials(user)):
            pass
        names = {one["name"] for one in await tenants.control.records("nats_accounts")}
        assert names == {"Acme"}
        async with connected_with(empty.nats_url, creds) as live:
            await tenants.control.delete("nats_users", user["id"])
            await live.is_cut()
        assert await refused(empty.nats_url, creds)
