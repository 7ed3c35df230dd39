"""Gives people and services the credentials of a NATS user, and issues them anew when asked.

They are read from the ledger, where the seed is sealed, whatever the rows show of them.
"""

import asyncio
import time
from dataclasses import dataclass, field

from common.core.errors import Conflict, Forbidden, NotFound, UpstreamUnavailable
from common.core.identity import Identity
from natsync.adapters.keyring import Keyring
from natsync.adapters.pocketbase_enrolment import PocketBaseEnrolment
from natsync.core.claims.creds_file import render
from natsync.core.collections.enrolment import Gateway, Person, Unknown, person_of
from natsync.core.collections.rows import Row, text
from natsync.core.deciding.admission import Denied
from natsync.core.state.ledger import Entry
from natsync.core.state.sealing import SealBroken
from natsync.enrol import Enrol

FIND_SECONDS = 5.0
RENEW_SECONDS = 8.0
LOOK_SECONDS = 0.05
RENEWED_LATELY_SECONDS = 10
"""Who asks again within this time gets what was issued the first time."""
SOON_SECONDS = 24 * 3600
SOON_SHARE = 1 / 3
"""Of a lifetime: so much of it may be left when it is time to renew, but no more than a day."""


@dataclass(frozen=True, slots=True)
class Issued:
    id: str
    name: str
    account: str
    role: str
    public_key: str
    issued_at: int
    expires_at: int
    creds_file: str = field(repr=False)

    def expires_soon(self, now: float) -> bool:
        if not self.expires_at:
            return False
        return now >= self.expires_at - min(SOON_SECONDS, (self.expires_at - self.issued_at) * SOON_SHARE)


class IssueCreds:
    """All methods raise ServiceError."""

    def __init__(self, enrol: Enrol, source: PocketBaseEnrolment, keyring: Keyring, *, gateway: Gateway) -> None:
        self._enrol = enrol
        self._source = source
        self._keyring = keyring
        self._gateway = gateway

    async def own(self, caller: Identity, wanted: str = "", *, renew: bool = False) -> Issued:
        """Of the bearer of a token; `wanted` names one of several."""
        try:
            person = person_of(caller, gateway=self._gateway)
        except Unknown as error:
            raise NotFound(f"{sentence(error)}.") from error
        return await self._of(person, wanted, renew=renew)

    async def of(self, user: str, *, renew: bool = False) -> Issued:
        """Of a row, or of the platform user it is linked to: for services, which speak for others."""
        await self._in_time()
        person: Person = ("row", "", user) if user in self._enrol.enrolment.users else ("user", "", user)
        return await self._of(person, "", renew=renew)

    async def _of(self, person: Person, wanted: str, *, renew: bool) -> Issued:
        await self._in_time()
        try:
            row = self._enrol.enrolment.chosen(person, wanted)
        except Unknown as error:
            raise NotFound(f"{sentence(error)}.") from error
        await self._refuse_unfit(row)
        entry = await self._entry(row)
        if renew and time.time() - entry.last_iat > RENEWED_LATELY_SECONDS:
            entry = await self._renewed(row, entry)
        return self._issued(row, entry)

    async def _in_time(self) -> None:
        try:
            async with asyncio.timeout(FIND_SECONDS):
                await self._enrol.current()
        except TimeoutError:
            raise UpstreamUnavailable("PocketBase does not say in time who has which NATS user.") from None
        except Denied as error:
            raise UpstreamUnavailable(f"{sentence(error)}.") from error

    async def _refuse_unfit(self, row: Row) -> None:
        if self._enrol.is_banned(row):
            raise Forbidden("The NATS user is banned.")
        try:
            desired = (await self._enrol.picture_of(row)).desired
        except Denied as error:
            raise UpstreamUnavailable(f"{sentence(error)}.") from error
        if row["id"] in desired.suspended:
            raise Forbidden("The NATS user is suspended.")

    async def _entry(self, row: Row) -> Entry:
        """What was issued to the user last, once the servers know of it."""
        entry, status = await self._source.user_entry(row["id"]), await self._source.status("nats_users", row["id"])
        if status["sync_status"] == "error":
            raise Conflict(f"There are no credentials: {status['sync_error']}.")
        if entry is None or not entry.jwt or status["sync_status"] != "synced":
            raise UpstreamUnavailable("The credentials are not issued yet; ask again in a moment.")
        return entry

    async def _renewed(self, row: Row, before: Entry) -> Entry:
        """By the row's own trigger, so that it goes the same way as any other renewal."""
        await self._source.raise_trigger("nats_users", row["id"], "regenerate")
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                while True:
                    entry = await self._current_entry(row)
                    if entry and entry.last_iat > before.last_iat:
                        return entry
                    await asyncio.sleep(LOOK_SECONDS)
        except TimeoutError:
            raise UpstreamUnavailable("The credentials are being renewed; ask for them in a moment.") from None

    async def _current_entry(self, row: Row) -> Entry | None:
        try:
            return await self._entry(row)
        except UpstreamUnavailable:
            return None

    def _issued(self, row: Row, entry: Entry) -> Issued:
        try:
            creds = render(entry.jwt, self._keyring.identity(entry).seed)
        except SealBroken as error:
            raise UpstreamUnavailable("The credentials cannot be opened here.") from error
        return Issued(
            id=row["id"],
            name=text(row, "nats_username"),
            account=text(row, "account_id"),
            role=text(row, "role_id"),
            public_key=entry.public_key,
            issued_at=entry.last_iat,
            expires_at=entry.expires_at,
            creds_file=creds,
        )


def sentence(error: Exception) -> str:
    said = str(error)
    return said[:1].upper() + said[1:]
