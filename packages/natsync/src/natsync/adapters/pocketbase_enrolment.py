"""What PocketBase knows of NATS users that a login depends on: no secrets but sealed ones, and no credentials."""

from dataclasses import replace

from common.adapters.pocketbase import PocketBase, record_path
from common.core.errors import Forbidden, InvalidRequest, NotFound, UpstreamUnavailable
from common.core.pocketbase_answers import Record
from natsync.core.collections.schema import ACCOUNTS, BANS, ROLES, USERS
from natsync.core.collections.shape import Spec
from natsync.core.state.bans import Ban, Bans, to_ban, to_bans, to_row
from natsync.core.state.built_in import AUTH, CALLOUT
from natsync.core.state.ledger import Entries, Entry, to_entries, to_entry

NOT_NEEDED = frozenset({"jwt", "creds_file", "description", "sync_status", "sync_error", "synced_at", "public_key"})


def needed(spec: Spec) -> str:
    names = [field["name"] for field in spec.fields if not field.get("hidden") and field["name"] not in NOT_NEEDED]
    return ",".join(("id", *names))


FIELDS = {spec.name: needed(spec) for spec in (USERS, ROLES, ACCOUNTS)}


class PocketBaseEnrolment:
    """All methods raise ServiceError rather than leave something out."""

    def __init__(self, pocketbase: PocketBase) -> None:
        self._pocketbase = pocketbase

    async def rows(self, collection: str) -> list[Record]:
        return await self._pocketbase.records(collection, fields=FIELDS[collection])

    async def row(self, collection: str, id: str) -> Record | None:
        found = await self._pocketbase.records(collection, filter=is_equal("id", id), fields=FIELDS[collection])
        return found[0] if found else None

    async def suspended(self) -> dict[str, Entry]:
        """Users that an action suspended, by the record's id."""
        rows = await self._pocketbase.records("natsync_keys", filter='kind = "user" && suspended = true')
        return {row["record"]: to_entry(row) for row in rows}

    async def suspension(self, user: str) -> Entry | None:
        mine = f'kind = "user" && suspended = true && {is_equal("record", user)}'
        rows = await self._pocketbase.records("natsync_keys", filter=mine)
        return to_entry(rows[0]) if rows else None

    async def user_entry(self, id: str) -> Entry | None:
        rows = await self._pocketbase.records("natsync_keys", filter=f'kind = "user" && {is_equal("record", id)}')
        return to_entry(rows[0]) if rows else None

    async def status(self, collection: str, id: str) -> Record:
        """What natsync last wrote on a row of how far it has come. Raises NotFound."""
        fields = "id,public_key,sync_status,sync_error,synced_at"
        rows = await self._pocketbase.records(collection, filter=is_equal("id", id), fields=fields)
        if not rows:
            raise NotFound("There is no such row.")
        return rows[0]

    async def users_of(self, account: str) -> dict[str, str]:
        """Record ids of the users who hold credentials of an account, by public key."""
        mine = f'kind = "user" && {is_equal("account", account)}'
        rows = await self._pocketbase.records("natsync_keys", filter=mine, fields="id,record,public_key")
        return {row["public_key"]: row["record"] for row in rows}

    async def expiring(self, until: int, most: int) -> list[Entry]:
        """Users whose tokens end by then, the next first."""
        ending = f'kind = "user" && jwt != "" && expires_at > 0 && expires_at <= {until}'
        rows = await self._pocketbase.records(
            "natsync_keys", filter=ending, fields="id,kind,record,name,account,expires_at"
        )
        return sorted(map(to_entry, rows), key=lambda entry: entry.expires_at)[:most]

    async def raise_trigger(self, collection: str, id: str, trigger: str) -> None:
        change = {"method": "PATCH", "url": record_path(collection, id), "body": {trigger: True}}
        try:
            await self._pocketbase.batch([change])
        except Forbidden:
            await self._pocketbase.update(collection, id, {trigger: True})

    async def keys(self, account: str) -> Entries:
        """The account's entry and those of its roles."""
        mine = f'kind = "account" && {is_equal("record", account)}'
        roles = f'kind = "scope" && {is_equal("account", account)}'
        return to_entries(await self._pocketbase.records("natsync_keys", filter=f"({mine}) || ({roles})"))

    async def account_keys(self) -> dict[str, str]:
        """Record ids of the accounts by public key."""
        rows = await self._pocketbase.records("natsync_keys", filter='kind = "account"', fields="id,record,public_key")
        return {row["public_key"]: row["record"] for row in rows}

    async def service(self) -> Entries:
        """The account that has the callout, and the key that encrypts it."""
        ours = f'(kind = "account" && record = "{AUTH}") || (kind = "curve" && record = "{CALLOUT}")'
        entries = to_entries(await self._pocketbase.records("natsync_keys", filter=ours))
        if entries.get("account", AUTH) is None:
            raise UpstreamUnavailable("There is no account for the auth callout; run `natsync bootstrap`.")
        return entries

    async def bans(self) -> Bans:
        return to_bans(await self._pocketbase.records(BANS.name))

    async def keep_ban(self, ban: Ban) -> None:
        """Writes nothing when it stands there already; another process may be writing the same."""
        rows = await self._stored(ban.subject, ban.collection)
        stored = [row for row in rows if row["collection_id"] == ban.collection]
        for row in stored:
            if to_ban(row) != replace(ban, id=row["id"]):
                await self._pocketbase.update(BANS.name, row["id"], to_row(ban))
        if not stored:
            try:
                await self._pocketbase.create(BANS.name, to_row(ban))
            except InvalidRequest:
                if not await self._stored(ban.subject, ban.collection):
                    raise

    async def drop_bans(self, subject: str, collection: str) -> None:
        for row in await self._stored(subject, collection):
            try:
                await self._pocketbase.delete(BANS.name, row["id"])
            except NotFound:
                continue

    async def _stored(self, subject: str, collection: str) -> list[Record]:
        within = f" && {is_equal('collection_id', collection)}" if collection else ""
        return await self._pocketbase.records(BANS.name, filter=is_equal("subject", subject) + within)


def is_equal(field: str, value: str) -> str:
    """A filter of PocketBase."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{field} = "{escaped}"'
