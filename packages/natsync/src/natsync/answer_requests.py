"""Answers what other services ask over the bus; of several natsyncs one answers."""

import asyncio
from contextlib import AsyncExitStack

import structlog

from common.adapters.nats_bus import Bus
from common.core import subjects
from common.core.errors import Forbidden, NotFound
from natsync.adapters.pocketbase_enrolment import PocketBaseEnrolment
from natsync.core.servers.rpc import AccountStatusAnswer, AccountStatusRequest, CredsAnswer, CredsRequest
from natsync.enrol import Enrol
from natsync.issue_creds import IssueCreds

audit = structlog.get_logger("natsync.audit")
logger = structlog.get_logger(__name__)

QUEUE = "natsync"


class AnswerRequests:
    def __init__(self, bus: Bus, issue: IssueCreds, enrol: Enrol, source: PocketBaseEnrolment) -> None:
        self._bus = bus
        self._issue = issue
        self._enrol = enrol
        self._source = source

    async def run(self) -> None:
        """Loop: until the right to listen is taken away, which is logged."""
        forever = asyncio.Event()
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(
                    self._bus.answering(subjects.CREDS_ISSUE, CredsRequest, self.creds, queue=QUEUE)
                )
                await stack.enter_async_context(
                    self._bus.answering(subjects.ACCOUNT_STATUS, AccountStatusRequest, self.account, queue=QUEUE)
                )
                await forever.wait()
            except Forbidden as error:
                logger.error("requests are not answered", error=str(error))
        await forever.wait()

    async def creds(self, asked: CredsRequest) -> CredsAnswer:
        issued = await self._issue.of(asked.user, renew=asked.renew)
        audit.info("credentials given to a service", user=issued.id, account=issued.account, renewed=asked.renew)
        return CredsAnswer(
            user=issued.id,
            account=issued.account,
            public_key=issued.public_key,
            issued_at=issued.issued_at,
            expires_at=issued.expires_at,
            creds_file=issued.creds_file,
        )

    async def account(self, asked: AccountStatusRequest) -> AccountStatusAnswer:
        row = await self._source.row("nats_accounts", asked.account)
        if row is None:
            raise NotFound("There is no such account.")
        status = await self._source.status("nats_accounts", asked.account)
        return AccountStatusAnswer(
            account=asked.account,
            name=str(row["name"]),
            public_key=str(status["public_key"]),
            sync_status=str(status["sync_status"]),
            sync_error=str(status["sync_error"]),
            synced_at=str(status["synced_at"]),
            active=row["active"] is True,
            users=sum(user.get("account_id") == asked.account for user in self._enrol.enrolment.users.values()),
        )
