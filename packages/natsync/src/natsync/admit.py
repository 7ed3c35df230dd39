"""Answers one NATS auth callout: who brings an access token and no credentials is let in as its row says.

nats_callout -> callout.read_login -> verifier.verify -> enrol.find -> admission -> sign -> nats_callout

Whatever happens on the way, the client is turned away in time, with the reason in the log and nothing of its token.
"""

import asyncio
import os
import time
from collections import OrderedDict
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog
from prometheus_client import Counter, Histogram

from common.adapters.issuers import TokenVerifier
from common.core.errors import ServiceError, Unauthenticated
from common.core.identity import Identity
from natsync.adapters.keyring import Keyring
from natsync.adapters.nats_callout import Question
from natsync.core.claims.authorization_response import admission_body, refusal_body
from natsync.core.claims.curve_keys import NONCE_BYTES, BoxBroken, CurveKey
from natsync.core.claims.keys import KeyPair
from natsync.core.claims.token_codec import encode
from natsync.core.collections.enrolment import Gateway, Unknown, person_of
from natsync.core.deciding.admission import Admission, Denied, admission
from natsync.core.servers.callout import BadRequest, Login, read_login
from natsync.core.servers.sparing import Sparing
from natsync.core.state.built_in import AUTH, CALLOUT
from natsync.core.state.ledger import Entries, Entry
from natsync.core.state.sealing import SealBroken
from natsync.enrol import Enrol

audit = structlog.get_logger("natsync.audit")
logger = structlog.get_logger(__name__)

T = TypeVar("T")

ANSWER_SECONDS = 2.0
KEYS_KEPT = 4096
SESSIONS_KEPT = 100_000
DENIALS_A_SECOND = 20

LOGINS = Counter("natsync_logins", "Logins by access token that NATS asked about.", ("outcome",))
SECONDS = Histogram(
    "natsync_login_seconds",
    "From NATS's question to the answer.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1),
)


@dataclass(frozen=True, slots=True)
class Admitted:
    """Under which name, in which account (by its public key), a session was let in last."""

    account_key: str
    name: str


class Admit:
    def __init__(self, enrol: Enrol, verifier: TokenVerifier, keyring: Keyring, *, gateway: Gateway) -> None:
        self.sessions: OrderedDict[str, Admitted] = OrderedDict()
        """Of this process, the latest; for endings of sessions that do not say whose they were."""
        self.informed = asyncio.Event()
        """Set once all endings of sessions that were told before are known: until then nobody is let in."""
        self._enrol = enrol
        self._verifier = verifier
        self._keyring = keyring
        self._gateway = gateway
        self._keys: OrderedDict[str, KeyPair] = OrderedDict()
        self._sparing = Sparing(DENIALS_A_SECOND)

    async def answer(self, question: Question) -> bytes | None:
        """What the server is to be told. None for what is no question of a server: nobody waits for an answer then."""
        try:
            return await self._answer(question)
        except (BadRequest, BoxBroken, SealBroken, Denied) as error:
            LOGINS.labels("unreadable").inc()
            self._tell("login question left out", error=str(error))
        except Exception:
            LOGINS.labels("failed").inc()
            logger.exception("login not decided")
        return None

    async def _answer(self, question: Question) -> bytes:
        service = await self._service(question.asked_at)
        curve = self._curve(service) if question.curve_key else None
        request = curve.open(question.payload, sender=question.curve_key) if curve else question.payload
        account = service.by_place["account", AUTH]
        login = read_login(request.decode("ascii", "replace"), account=account.public_key, now=int(time.time()))
        answer = await self._decided(login, account, question.asked_at)
        SECONDS.observe(asyncio.get_running_loop().time() - question.asked_at)
        if curve is None:
            return answer.encode()
        return curve.seal(answer.encode(), recipient=question.curve_key, nonce=os.urandom(NONCE_BYTES))

    async def _service(self, asked_at: float) -> Entries:
        if not self._enrol.service.by_place:
            await self._in_time(self._enrol.current(), asked_at)
        return self._enrol.service

    async def _decided(self, login: Login, account: Entry, asked_at: float) -> str:
        try:
            body = admission_body(token=await self._in_time(self._admit(login), asked_at), account=account.public_key)
        except Denied as denial:
            LOGINS.labels(denial.cause).inc()
            self._tell("NATS login denied", cause=denial.cause, reason=str(denial), **said_of(login))
            body = refusal_body(reason=f"natsync: {denial.cause}", account=account.public_key)
        return encode(
            body,
            subject=login.user_key,
            name="natsync",
            issuer=self._key(account, account.signing_public_key),
            issued_at=int(time.time()),
            audience=login.server,
        )

    async def _in_time(self, work: Awaitable[T], asked_at: float) -> T:
        try:
            async with asyncio.timeout_at(asked_at + ANSWER_SECONDS):
                return await work
        except TimeoutError:
            raise Denied("not_ready", "it could not be decided in time") from None

    async def _admit(self, login: Login) -> str:
        """The user's token. Raises Denied."""
        identity = await self._identified(login)
        admitted = await self._admitted(identity, login)
        ends_at = min(identity.expires_at, admitted.expires_at or identity.expires_at)
        token = encode(
            admitted.body,
            subject=login.user_key,
            name=admitted.name,
            issuer=self._key(admitted.signer, admitted.issuer),
            issued_at=int(time.time()),
            expires_at=ends_at,
        )
        self._note(identity, admitted)
        LOGINS.labels("admitted").inc()
        audit.info("NATS login admitted", user=admitted.row, account=admitted.account, until=ends_at, **said_of(login))
        return token

    async def _identified(self, login: Login) -> Identity:
        if not login.token:
            raise Denied("token", "the client brought no token")
        if not self.informed.is_set():
            raise Denied("not_ready", "it is not known yet which sessions have ended")
        try:
            return await self._verifier.verify(login.token)
        except Unauthenticated as error:
            raise Denied("token", str(error)) from None
        except ServiceError as error:
            raise Denied("not_ready", str(error)) from None

    async def _admitted(self, identity: Identity, login: Login) -> Admission:
        try:
            person = person_of(identity, gateway=self._gateway)
        except Unknown as error:
            raise Denied("unknown", str(error)) from error
        row, at = await self._enrol.find(person, login.wanted)
        is_banned = self._enrol.is_banned(row)
        try:
            return admission(row, at, user_key=login.user_key, is_banned=is_banned)
        except Denied as denial:
            if denial.cause != "not_ready":
                raise
        at = await self._enrol.picture_of(row, with_new_keys=True)
        return admission(row, at, user_key=login.user_key, is_banned=is_banned)

    def _note(self, identity: Identity, admitted: Admission) -> None:
        if identity.session_id:
            self.sessions[identity.session_id] = Admitted(admitted.account_key, admitted.name)
            self.sessions.move_to_end(identity.session_id)
            while len(self.sessions) > SESSIONS_KEPT:
                self.sessions.popitem(last=False)

    def _key(self, entry: Entry, public_key: str) -> KeyPair:
        """Opening a seal costs more than signing."""
        if public_key not in self._keys:
            self._keys[public_key] = self._keyring.signing(entry, public_key)
            while len(self._keys) > KEYS_KEPT:
                self._keys.popitem(last=False)
        return self._keys[public_key]

    def _curve(self, service: Entries) -> CurveKey:
        entry = service.get("curve", CALLOUT)
        if entry is None:
            raise BadRequest("encrypted, and there is no key to open it")
        return self._keyring.curve(entry)

    def _tell(self, event: str, **said: object) -> None:
        left_out = self._sparing.admits(time.monotonic())
        if left_out is not None:
            audit.warning(event, **said, left_out_before=left_out)


def said_of(login: Login) -> Mapping[str, object]:
    return {
        "server": login.server,
        "connection": login.connection,
        "host": login.host,
        "kind": login.kind,
        "wanted": login.wanted,
    }
