"""The claims protocol of nats-server's system account.

Every server answers for itself, and "jwt updated" says little: what counts is what each of them shows afterwards. A
server that does not answer has not refused: it is asked what it has.
"""

from collections.abc import Sequence
from typing import Any, cast

from common.core import subjects
from common.core.errors import NoResponders, UpstreamUnavailable
from natsync.adapters.concurrently import each
from natsync.adapters.nats_servers import NatsServers
from natsync.core.servers.servers_said import (
    DIFFERING,
    Answer,
    Observed,
    Publication,
    agreed,
    on_some_only,
    read_accounts,
)

LOOKUPS_AT_ONCE = 64
DELETION_OFF = "delete must be enabled"


class NotVerified(UpstreamUnavailable):
    """The servers do not show what they were asked to take."""


class DeletionOff(UpstreamUnavailable):
    """A server runs with `allow_delete: false`: accounts can be locked there, not removed."""


class NatsSystemAccount:
    """All methods raise UpstreamUnavailable when NATS is away or nobody answers in time."""

    def __init__(self, servers: NatsServers) -> None:
        self._servers = servers

    async def observed(self) -> Observed:
        """Every account that any server has, ours or not."""
        await self._servers.present()
        try:
            tokens = await self._packed() if self._servers.is_single else await self._compared()
        except NoResponders as error:
            raise UpstreamUnavailable("No NATS server keeps accounts: its resolver is to be of type full.") from error
        roster = self._servers.roster
        return Observed(tokens, roster.names(roster.present), roster.names(roster.silent))

    async def publish(self, account: str, token: str) -> Publication:
        """Tell every server, then ask every one what it shows. Says what came of it; believe only `is_verified`."""
        said = await self._servers.tell_all(subjects.CLAIMS_UPDATE, token.encode())
        shown = await self._shown(account)
        roster = self._servers.roster
        showing = sum(answer == token.encode() for answer in shown)
        return Publication(
            account=account,
            asked=roster.names(roster.present),
            accepted=tuple(sorted(answer.server.name for answer in said.values() if not answer.error)),
            refused={answer.server.name: answer.error for answer in said.values() if answer.error},
            showing=showing,
            lacking=await self._lacking(account, token) if showing < len(roster.present) else (),
            silent=roster.names(roster.silent),
        )

    async def remove(self, account: str, request: str) -> None:
        """Returns when no server shows the account any more. Raises DeletionOff and NotVerified."""
        for answer in (await self._servers.tell_all(subjects.CLAIMS_DELETE, request.encode())).values():
            refuse(answer)
        if any(await self._shown(account)):
            raise NotVerified("A NATS server still has an account that was removed.")

    async def _packed(self) -> dict[str, str]:
        """From the one server there is: everything in one go."""
        parts = await self._servers.ask(subjects.CLAIMS_PACK, b"", ends_empty, self._servers.requesting)
        if not parts or parts[-1]:
            raise UpstreamUnavailable("NATS ended its list of accounts early.")
        lines = [line for part in parts for line in part.decode("utf-8", "replace").splitlines()]
        return {account: token for account, _, token in (line.partition("|") for line in lines) if account}

    async def _compared(self) -> dict[str, str]:
        answers = await self._servers.ask_all(subjects.CLAIMS_LIST)
        listed = [read_accounts(answer) for answer in answers.values()]
        found = dict.fromkeys(frozenset[str]().union(*listed), DIFFERING)

        async def look_up(account: str) -> None:
            found[account] = agreed(await self._shown(account))

        await each(look_up, found.keys() - on_some_only(listed), at_once=LOOKUPS_AT_ONCE)
        return found

    async def _shown(self, account: str) -> list[bytes]:
        """One answer a server, which does not say from which; empty where it has no such account."""
        return await self._servers.ask_anonymous(subjects.claims_lookup(account))

    async def _lacking(self, account: str, token: str) -> tuple[str, ...]:
        """Names of the servers that have loaded another token, for people to know where to look."""
        try:
            answers = await self._servers.ask_all(subjects.account_info(account))
        except UpstreamUnavailable:
            return ()
        others = [answer.server for answer in answers.values() if not loaded(answer, token)]
        return tuple(sorted(server.name for server in others))


def loaded(answer: Answer, token: str) -> bool:
    data: Any = answer.data
    return isinstance(data, dict) and cast("dict[str, Any]", data).get("jwt") == token


def refuse(answer: Answer) -> None:
    if DELETION_OFF in answer.error:
        raise DeletionOff(f"NATS server {answer.server.name} refuses: {answer.error}.")
    if answer.error:
        raise UpstreamUnavailable(f"NATS server {answer.server.name} refuses: {answer.error}.")


def ends_empty(parts: Sequence[bytes]) -> bool:
    return not parts[-1]
