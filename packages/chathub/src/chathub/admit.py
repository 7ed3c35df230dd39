"""Who may open a socket: room, origin, token, then, once registered, bans. Default is no."""

from collections.abc import Sequence
from typing import Protocol

from chathub.core.bus_messages import Stored
from chathub.core.credentials import Credentials
from chathub.core.hub import Hub, Member
from chathub.core.presence import User
from chathub.search import ADMIN
from common.core.errors import Forbidden, InvalidRequest, Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity, NoCredentials, require_role
from common.core.subjects import token as subject_token

DASHBOARD = "WebClient"
"""The `azp` whose sockets observe. Any user can ask for such a token, so it also takes the role admin."""


class Tokens(Protocol):
    async def verify(self, token: str) -> Identity: ...


class People(Protocol):
    async def note(self, user: User) -> None: ...


class Bans(Protocol):
    async def standing(self, user_ids: Sequence[str]) -> Sequence[str]:
        """Those of them who are banned. Raises UpstreamUnavailable."""
        ...


class Whispers(Protocol):
    async def private_of(self, user_id: str) -> Sequence[Stored]: ...


class TicketOffice(Protocol):
    async def redeem(self, ticket: str) -> Identity:
        """Raises Unauthenticated, UpstreamUnavailable."""
        ...


class Log(Protocol):
    def available(self) -> None: ...


class Standing(Protocol):
    async def refuse(self, user_id: str, session_id: str | None) -> None:
        """Raises Unauthenticated for a session that has ended and for who was banned elsewhere, UpstreamUnavailable."""
        ...


class Delivery(Protocol):
    def caught_up(self) -> bool: ...


class Doorkeeper:
    def __init__(
        self,
        *,
        tokens: Tokens,
        tickets: TicketOffice,
        people: People,
        bans: Bans,
        standing: Standing,
        whispers: Whispers,
        log: Log,
        delivery: Delivery,
    ) -> None:
        self._tokens = tokens
        self._tickets = tickets
        self._bans = bans
        self._standing = standing
        self._people = people
        self._whispers = whispers
        self._log = log
        self._delivery = delivery

    async def recognise(self, given: Credentials) -> Identity:
        """Raises Unauthenticated, or UpstreamUnavailable when the issuer or Valkey is away."""
        if not given.ticket:
            return await self.identify(given.token)
        identity = await self._tickets.redeem(given.ticket)
        await self._standing.refuse(identity.subject, identity.session_id)
        return identity

    async def identify(self, token: str | None) -> Identity:
        """Raises Unauthenticated, or UpstreamUnavailable when the issuer is away."""
        if not token:
            raise NoCredentials("There is no token.")
        identity = await self._tokens.verify(token)
        try:
            subject_token(identity.subject)
        except InvalidRequest as error:
            raise Unauthenticated("The token's subject cannot be used as a user id.") from error
        await self._standing.refuse(identity.subject, identity.session_id)
        return identity

    async def admit(self, member: Member, hub: Hub) -> Sequence[Stored]:
        """Return the user's whispers from PostgreSQL. The member must be registered: what comes after finds it.

        Raises as `refuse`, and UpstreamUnavailable when chat could not work.
        """
        self._log.available()
        if await self._bans.standing([member.user.id]):
            raise Unauthenticated("User is banned.")
        if not self._delivery.caught_up():
            raise UpstreamUnavailable("The chat log is not read yet.")
        if not hub.channels.is_read:
            raise UpstreamUnavailable("The channels are not read yet.")
        await self._people.note(member.user)
        whispers = await self._whispers.private_of(member.user.id)
        await self.refuse(member)
        return whispers

    async def refuse(self, member: Member) -> None:
        """Raises Unauthenticated for one who was banned, or whose session has ended, since the registration."""
        if member.banned:
            raise Unauthenticated("User is banned.")
        await self._standing.refuse(member.user.id, member.sign_in.session_id)


def observes(identity: Identity) -> bool:
    """Raises Forbidden for a dashboard without the role it needs."""
    if identity.client_id != DASHBOARD:
        return False
    require_role(identity, ADMIN)
    return True


def check_origin(origin: str | None, host: str | None, allowed: frozenset[str]) -> None:
    """A browser page may connect from the domain itself or from where the settings allow; programs send no origin.

    Raises Forbidden.
    """
    if origin is None or "*" in allowed or origin in allowed:
        return
    if host and origin in (f"http://{host}", f"https://{host}"):
        return
    raise Forbidden("Pages of this origin may not connect.")
