"""Ends NATS logins that an access token began and that must not go on, and sees to it that bans last.

notices (ended sessions, bans, pardons) -> verifier, enrol (nobody comes back) -> PocketBase (bans) -> who is connected
enrol (rights lost)                                                                                -> who is connected

Servers know such logins by the name in the user's token alone, so all of that name in the account end: those of
others who bear it, or of other sessions, come back by themselves.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from common.adapters.issuers import TokenVerifier
from common.adapters.nats_notices import KEPT_SECONDS, NoticeStream
from common.core.errors import ServiceError
from common.core.notices import SessionRevoked, Told, UserBanned
from natsync.adapters.concurrently import each
from natsync.adapters.nats_connection_report import NatsConnectionReport
from natsync.adapters.pocketbase_enrolment import PocketBaseEnrolment
from natsync.admit import Admit
from natsync.core.collections.rows import Row, to_user
from natsync.core.deciding.admission import Denied
from natsync.core.servers.connection_report import Connected
from natsync.core.servers.notices import Outcome, outcome
from natsync.core.state.bans import Ban
from natsync.enrol import Enrol

audit = structlog.get_logger("natsync.audit")
logger = structlog.get_logger(__name__)

WAITING = 100_000
RETRY_SECONDS = 0.5
TRIES = 20
NAMES_ONE_BY_ONE = 16


@dataclass(frozen=True, slots=True)
class Target:
    """Logins of one name in one account, by its public key; with `until`, those that began no later."""

    account: str
    name: str
    why: str
    until: float | None = None

    def is_hit(self, connection: Connected) -> bool:
        if connection.login != "token" or (connection.account, connection.user) != (self.account, self.name):
            return False
        return self.until is None or connection.started_at <= self.until


@dataclass(frozen=True, slots=True)
class Loser:
    """Somebody whose logins are to end, by the row that they were let in by."""

    row: Row
    why: str
    until: float | None = None


class CutOff:
    def __init__(
        self,
        enrol: Enrol,
        admit: Admit,
        verifier: TokenVerifier,
        source: PocketBaseEnrolment,
        report: NatsConnectionReport,
    ) -> None:
        self._enrol = enrol
        self._admit = admit
        self._verifier = verifier
        self._source = source
        self._report = report
        self._targets: asyncio.Queue[Target | Loser] = asyncio.Queue(WAITING)
        self._unwritten: asyncio.Queue[Ban] = asyncio.Queue(WAITING)
        enrol.lost = self.rights_lost

    def rights_lost(self, rows: Sequence[Row]) -> None:
        self._put(Loser(row, "rights changed") for row in rows)

    def _put(self, found: Iterable[Target | Loser]) -> None:
        for one in found:
            try:
                self._targets.put_nowait(one)
            except asyncio.QueueFull:
                logger.error("logins that should end are left: too many wait")
                return

    # Loops

    async def hear(self, notices: NoticeStream) -> None:
        """Loop: carry out what is told; what was told while nobody listened counts as a whole."""
        told: list[Told] = []
        async for batch in notices.batches():
            told += batch.told
            if batch.is_latest:
                self._carry_out(outcome(told), is_late=not self._admit.informed.is_set())
                told = []
                self._admit.informed.set()

    async def write(self) -> None:
        """Loop: bans and pardons to PocketBase, in order, until they stand there."""
        while True:
            await self._write(await self._unwritten.get())

    async def work(self) -> None:
        """Loop: end what is to end."""
        while True:
            waiting = [await self._targets.get()]
            while not self._targets.empty():
                waiting.append(self._targets.get_nowait())
            targets = [target for one in waiting if (target := await self._resolved(one))]
            await each(self._end, by_account(targets).items(), at_once=8)

    async def sweep(self) -> None:
        """Once: end what was let in before this process watched, and what it cannot be sure of."""
        while True:
            try:
                await self._enrol.current()
                await self._sweep()
            except (ServiceError, Denied) as error:
                logger.warning("logins by token not looked through", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        await asyncio.Event().wait()

    # Notices

    def _carry_out(self, what: Outcome, *, is_late: bool) -> None:
        now = time.time()
        for session_id, told in what.ended.items():
            self._verifier.revoke_session(session_id, until=told.at + KEPT_SECONDS)
            self._put(self._of_session(told, is_late=is_late))
        for told in what.users:
            if isinstance(told.notice, UserBanned):
                self._ban(told.notice, now)
            elif not isinstance(told.notice, SessionRevoked):
                self._enrol.pardon(told.notice.subject, told.notice.collection_id)
                self._unwritten.put_nowait(Ban(told.notice.subject, told.notice.collection_id, until=-1))

    def _ban(self, notice: UserBanned, now: float) -> None:
        ban = Ban(notice.subject, notice.collection_id, notice.until, notice.reason[:500])
        if ban.holds(now):
            self._enrol.ban(ban)
            self._unwritten.put_nowait(ban)

    def _of_session(self, told: Told, *, is_late: bool) -> list[Target | Loser]:
        notice, why = told.notice, "session ended"
        if not isinstance(notice, SessionRevoked):
            return []
        if admitted := self._admit.sessions.pop(notice.session_id, None):
            return [Target(admitted.account_key, admitted.name, why)]
        rows = self._enrol.enrolment.of_subject(notice.record_id) if notice.record_id else []
        return [Loser(row, why, told.at if is_late else None) for row in rows]

    async def _write(self, ban: Ban) -> None:
        """A pardon comes as a ban that has ended before it began."""
        while True:
            try:
                if ban.until < 0:
                    await self._source.drop_bans(ban.subject, ban.collection)
                else:
                    await self._source.keep_ban(ban)
            except ServiceError as error:
                logger.warning("ban not written", error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._enrol.stored(ban.subject, ban.collection)
                return

    # Connections

    async def _resolved(self, one: Target | Loser) -> Target | None:
        if isinstance(one, Target):
            return one
        try:
            key = await self._enrol.account_key(one.row)
        except Denied as error:
            logger.warning("logins that should end are left", user=one.row["id"], error=str(error))
            return None
        return Target(key, to_user(one.row).name, one.why, one.until) if key else None

    async def _end(self, targets: tuple[str, Sequence[Target]]) -> None:
        account, wanted = targets
        for _ in range(TRIES):
            try:
                await self._end_once(account, wanted)
            except ServiceError as error:
                logger.warning("logins not ended yet", account=account, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return
        logger.error("logins that should end are left", account=account)

    async def _end_once(self, account: str, targets: Sequence[Target]) -> None:
        names = {target.name for target in targets}
        if len(names) > NAMES_ONE_BY_ONE:
            found = await self._report.of(account)
        else:
            found = [one for listed in await each(lambda name: self._report.of(account, name), names) for one in listed]
        hit = [(one, target) for one in found for target in targets if target.is_hit(one)]
        await self._end_all({(one.server, one.id): (one, target.why) for one, target in hit}.values())

    async def _end_all(self, found: Iterable[tuple[Connected, str]]) -> None:
        async def end(one: tuple[Connected, str]) -> None:
            connection, why = one
            await self._report.end(connection)
            audit.info("NATS login ended", name=connection.user, account=connection.account, why=why)

        await each(end, found)

    async def _sweep(self) -> None:
        connections = [one for one in await self._report.of() if one.login == "token"]
        keys = await self._source.account_keys()
        sure = {one: await self._stands(one, keys) for one in {(c.account, c.user) for c in connections}}
        doubtful = [one for one in connections if not sure[one.account, one.user]]
        await self._end_all([(one, "not known to be allowed") for one in doubtful])

    async def _stands(self, login: tuple[str, str], keys: Mapping[str, str]) -> bool:
        """Is there a row by which that name may be logged in there, with rights that servers take from its role?"""
        account, name = keys.get(login[0], ""), login[1]
        rows = [row for row in self._enrol.enrolment.users.values() if may_be(row, account, name)]
        for row in rows:
            wanted = (await self._enrol.picture_of(row)).desired.users.get(row["id"])
            if wanted and wanted.own is None and not self._enrol.is_banned(row):
                return True
        return not account  # of another's account: not ours to end


def may_be(row: Row, account: str, name: str) -> bool:
    return row.get("account_id") == account and to_user(row).name == name


def by_account(targets: Iterable[Target]) -> dict[str, list[Target]]:
    found: dict[str, list[Target]] = {}
    for target in targets:
        found.setdefault(target.account, []).append(target)
    return found
