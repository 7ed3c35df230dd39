"""Who a token's bearer is: remembered for as long as it cannot be wrong, asked for otherwise."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from structlog.testing import capture_logs

from common.core.errors import UpstreamUnavailable
from common.core.notices import Notice, SessionRevoked, UserBanned, UserPardoned
from common.core.tokens import SigningKey, TrustedIssuer
from gateway.core.refusals import SessionEnded
from gateway.core.sessions.account_change import Ended
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import EndReason, NewSession, Owner, Presented, Use
from gateway.core.sessions.session_token import PocketBaseToken, SessionIds, Terms, claims_of, successor_claims
from gateway.sessions.ask_pocketbase import TokenQuestions
from gateway.sessions.end import Endings
from gateway.sessions.hear_revocations import Obedience
from gateway.sessions.identify import BELIEVED_SECONDS, Callers, Confirming, TokenCheck
from tests.eventually import eventually
from tests.fakes.memory_revocations import MemoryRevocations
from tests.fakes.memory_sessions import MemorySessions
from tests.fakes.memory_upstream import MemoryUpstream

KEY = SigningKey(b"\1" * 32)
ISSUER = "https://example.com"
TRUSTED = TrustedIssuer(ISSUER, "gateway", ("ES256",), leeway_seconds=0)
TERMS = Terms(ISSUER, ("gateway",), "roles", frozenset({"users"}))
ANN = Owner("users_id", "ann")
NOW = 1_800_000_000
GRACE_SECONDS = 10


class Clocks:
    """The wall's and the monotonic one, moved together."""

    def __init__(self) -> None:
        self.passed_seconds = 0.0

    def wall(self) -> float:
        return NOW + self.passed_seconds

    def monotonic(self) -> float:
        return 1000 + self.passed_seconds

    def milliseconds(self) -> int:
        return round(self.wall() * 1000)


class Watched(MemorySessions):
    """Counts how often it is asked, may be away, and may be held up before it answers."""

    asked = 0
    is_away = False
    before_answering: asyncio.Event | None = None

    async def present(self, session_id: str, generation: int) -> Presented:
        if self.is_away:
            raise UpstreamUnavailable("away")
        self.asked += 1
        told = await super().present(session_id, generation)
        if self.before_answering:
            await self.before_answering.wait()
        return told

    async def end_all(self, owner: Owner, reason: EndReason, *, keep: str = "") -> list[str]:
        if self.is_away:
            raise UpstreamUnavailable("away")
        return await super().end_all(owner, reason, keep=keep)


@dataclass(slots=True)
class Told:
    """The other services, and what they were told; and where uses are noted."""

    notices: list[Notice] = field(default_factory=list[Notice])
    uses: list[Use] = field(default_factory=list[Use])

    async def publish(self, notice: Notice) -> None:
        self.notices.append(notice)

    def note(self, use: Use) -> None:
        self.uses.append(use)


@dataclass(slots=True)
class Feed:
    is_current: bool = False


class Process:
    """One gateway process over a store that others may share."""

    def __init__(
        self,
        store: Watched,
        clocks: Clocks,
        *,
        is_strict: bool = False,
        grace_seconds: float = 10,
        status: Callable[[str], int] = lambda token: 401 if "dead" in token else 200,
    ) -> None:
        self.told = Told()
        self.stream = MemoryRevocations()
        self.upstream = MemoryUpstream(status)
        self.feed, asking = Feed(), TokenQuestions(self.upstream)
        self.endings = Endings(store, asking, self.told)
        self.callers = Callers(
            TokenCheck(KEY.verification_key, TRUSTED),
            store,
            self.endings,
            self.stream,
            self.told,
            confirming=Confirming(asking, self.feed),
            max_known=100,
            grace_seconds=grace_seconds,
            is_strict=is_strict,
            clock=clocks.monotonic,
            wall_clock=clocks.wall,
        )
        self.endings.also_tell(self.callers)
        self.stream.heard_until = float("inf")

    async def identify(self, token: str, **more: Any) -> Principal | None:
        return await self.callers.identify([(b"authorization", token.encode())], **more)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def store(clocks: Clocks) -> Watched:
    kept = Watched(grace_seconds=GRACE_SECONDS, max_sessions=5, clock_ms=clocks.milliseconds)
    await kept.begin(NewSession("s", ANN, "pb token", NOW + 1000, "Firefox", "203.0.113.7"))
    return kept


def signed(*, generation: int = 1, session: str = "s", expires_at: int = NOW + 1000, **more: Any) -> str:
    token = PocketBaseToken("", "ann", "users_id", expires_at, is_refreshable=True)
    record = {"name": "Ann", "roles": ["editor"]}
    claims = claims_of(token, record, "users", SessionIds(session, "jti", "Web", generation), terms=TERMS, now=NOW)
    return KEY.sign({**claims, **more})


async def test_the_bearer_of_a_good_token_is_known_by_all_that_it_says(store: Watched, clocks: Clocks) -> None:
    assert await Process(store, clocks).identify(f"Bearer {signed()}") == Principal(
        record_id="ann",
        collection_id="users_id",
        collection_name="users",
        username="Ann",
        roles=frozenset({"editor"}),
        client_id="Web",
        session_id="s",
        generation=1,
        issued_at=NOW,
        expires_at=NOW + 1000,
        pocketbase_token="pb token",
    )
    assert "pb token" not in repr(await Process(store, clocks).identify(signed()))


async def test_who_was_asked_for_is_known_without_asking(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed()
    assert process.callers.known(token) is None
    await process.identify(token)
    assert process.callers.known(token) == await process.identify(token)
    assert store.asked == 1


async def test_nothing_is_believed_longer_than_the_grace(store: Watched, clocks: Clocks) -> None:
    for grace_seconds in (3.0, 60.0):
        process, token, asked = Process(store, clocks, grace_seconds=grace_seconds), signed(), store.asked
        await process.identify(token)
        clocks.passed_seconds += min(grace_seconds, BELIEVED_SECONDS) - 0.001
        assert process.callers.known(token)
        clocks.passed_seconds += 0.001
        assert process.callers.known(token) is None
        await process.identify(token)
        assert store.asked == asked + 2


async def test_a_predecessor_that_another_process_believes_dies_with_its_grace(store: Watched, clocks: Clocks) -> None:
    process, old = Process(store, clocks), signed()
    await process.identify(old)
    await store.succeed("s", 1, None, 0)
    clocks.passed_seconds = GRACE_SECONDS - 0.001
    assert await process.identify(old)
    clocks.passed_seconds = GRACE_SECONDS
    assert await process.identify(old) is None
    assert await process.identify(signed(generation=2)) is None, "a replay ends the successor's session as well"


async def test_a_graced_token_is_asked_for_each_time(store: Watched, clocks: Clocks) -> None:
    process, old = Process(store, clocks), signed()
    await store.succeed("s", 1, None, 0)
    for asked in (1, 2, 3):
        assert await process.identify(old)
        assert store.asked == asked


async def test_a_replay_is_told_in_the_audit_log_without_a_secret(store: Watched, clocks: Clocks) -> None:
    process, old = Process(store, clocks), signed()
    await store.succeed("s", 1, None, 0)
    clocks.passed_seconds = GRACE_SECONDS
    with capture_logs() as lines:
        assert await process.identify(old, address="198.51.100.7") is None
    assert [line["event"] for line in lines] == ["session replayed", "session ended"]
    expected = {"record_id": "ann", "client": "198.51.100.7", "generation": 1, "newest_generation": 2}
    assert expected.items() <= lines[0].items()
    assert "eyJ" not in str(lines)
    assert "pb token" not in str(lines)
    assert [notice.reason for notice in process.told.notices if isinstance(notice, SessionRevoked)] == ["replayed"]


@pytest.mark.parametrize(
    "notice",
    [SessionRevoked(session_id="s"), UserBanned(subject="ann"), UserBanned(subject="ann", collection_id="users_id")],
)
async def test_a_notice_ends_what_is_known_at_once(store: Watched, clocks: Clocks, notice: Notice) -> None:
    process, token = Process(store, clocks), signed()
    await process.identify(token)
    process.callers.heard(notice)
    assert process.callers.known(token) is None


@pytest.mark.parametrize(
    "notice",
    [
        SessionRevoked(session_id="another"),
        UserBanned(subject="bob"),
        UserBanned(subject="ann", collection_id="devices"),
        UserPardoned(subject="ann"),
    ],
)
async def test_a_notice_about_somebody_else_changes_nothing(store: Watched, clocks: Clocks, notice: Notice) -> None:
    process, token = Process(store, clocks), signed()
    await process.identify(token)
    process.callers.heard(notice)
    assert process.callers.known(token)


async def test_the_process_that_ends_a_session_does_not_wait_to_be_told_so(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed()
    await process.identify(token)
    assert await process.endings.end("s", "signed out", ANN)
    assert process.callers.known(token) is None


async def test_an_answer_that_a_notice_overtook_is_not_remembered(store: Watched, clocks: Clocks) -> None:
    process, token, store.before_answering = Process(store, clocks), signed(), asyncio.Event()
    asking = asyncio.create_task(process.identify(token))
    await eventually(lambda: times_asked(store))
    process.callers.heard(SessionRevoked(session_id="s"))
    store.before_answering.set()
    await asking
    assert process.callers.known(token) is None


async def times_asked(store: Watched) -> int:
    return store.asked


async def test_while_endings_are_not_heard_of_the_store_is_asked_each_time(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed()
    await process.identify(token)
    process.stream.heard_until = clocks.monotonic()
    for asked in (2, 3):
        assert await process.identify(token)
        assert store.asked == asked
    process.callers.missed()
    process.stream.heard_until = float("inf")
    assert process.callers.known(token) is None, "what was learned before the gap is not believed after it"


async def test_without_the_store_the_bearer_of_a_good_token_is_no_guest(store: Watched, clocks: Clocks) -> None:
    process = Process(store, clocks)
    store.is_away = True
    with pytest.raises(UpstreamUnavailable):
        await process.identify(signed())
    assert await process.identify("nonsense") is None
    assert await process.callers.identify([]) is None


STRANGERS = [
    "",
    "nonsense",
    signed(session="unknown"),
    signed(expires_at=NOW - 1),
    signed(gen=0),
    signed(gen="1"),
    signed(gen=True),
    signed(gen=2**60),
    signed(iat="x"),
    signed(sid=""),
    signed(aud=["chathub"]),
    SigningKey(b"\2" * 32).sign(jwt.decode(signed(), options={"verify_signature": False})),
]


@pytest.mark.parametrize("token", STRANGERS)
async def test_any_other_token_is_a_guest_s(store: Watched, clocks: Clocks, token: str) -> None:
    assert await Process(store, clocks).identify(token) is None


@pytest.mark.parametrize("token", STRANGERS[1:])
async def test_strictly_any_other_token_is_refused_but_where_old_ones_are_usual(
    store: Watched, clocks: Clocks, token: str
) -> None:
    process = Process(store, clocks, is_strict=True)
    with pytest.raises(SessionEnded):
        await process.identify(token)
    assert await process.identify(token, may_be_stale=True) is None
    assert await process.identify("") is None


async def test_a_known_token_ends_when_it_says(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed(expires_at=NOW + 5)
    assert await process.identify(token)
    clocks.passed_seconds = 4.999
    assert process.callers.known(token)
    clocks.passed_seconds = 5
    assert await process.identify(token) is None


async def test_a_use_is_noted_once_a_minute_with_where_it_came_from(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed()
    for address in ("203.0.113.1", "203.0.113.2"):
        await process.identify(token, address=address)
    clocks.passed_seconds = 60
    await process.identify(token, address="203.0.113.3")
    assert process.told.uses == [
        Use("s", NOW * 1000, "203.0.113.1"),
        Use("s", NOW * 1000 + 60_000, "203.0.113.3"),
    ]


async def test_a_refreshed_pocketbase_token_takes_the_old_one_s_place(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed()
    await process.identify(token)
    await store.succeed("s", 1, "newer", NOW + 1000)
    clocks.passed_seconds = 9.999
    process.callers.missed()
    principal = await process.identify(token)
    assert principal
    assert principal.pocketbase_token == "newer"


async def test_pocketbase_confirms_a_session_once_and_again_when_it_may_have_changed_its_mind(
    store: Watched, clocks: Clocks
) -> None:
    process, token = Process(store, clocks), signed()
    process.feed.is_current = True
    for step, asked in (
        (None, 1),
        (lambda: process.callers.account_changed(ANN), 2),
        (process.callers.changes_missed, 3),
    ):
        if step:
            step()
        for _ in range(3):
            principal = await process.identify(token)
            assert principal
            assert process.callers.is_confirmed(principal)
        assert len(process.upstream.asked) == asked
    process.callers.account_changed(Owner("users_id", "bob"))
    await store.succeed("s", 1, None, 0)
    assert await process.identify(signed(generation=2)), "a successor is of the same session"
    assert len(process.upstream.asked) == 3


async def test_a_question_about_a_token_is_one_that_the_caller_could_have_asked(store: Watched, clocks: Clocks) -> None:
    process = Process(store, clocks)
    process.feed.is_current = True
    await process.identify(signed(), address="198.51.100.1")
    [asked] = process.upstream.asked
    assert (asked.method, asked.target) == ("POST", "/api/collections/users_id/auth-refresh?fields=record.id")
    headers = {("Authorization", "pb token"), ("Accept-Encoding", "identity"), ("X-Forwarded-For", "198.51.100.1")}
    assert set(asked.headers) == headers


async def test_nobody_is_confirmed_while_changes_are_not_heard_of(store: Watched, clocks: Clocks) -> None:
    process = Process(store, clocks)
    principal = await process.identify(signed())
    assert principal
    assert not process.callers.is_confirmed(principal)
    assert process.upstream.asked == []


async def test_whose_token_pocketbase_refuses_is_a_guest_and_out(store: Watched, clocks: Clocks) -> None:
    process = Process(store, clocks)
    process.feed.is_current = True
    await store.begin(NewSession("dead", ANN, "dead token", NOW + 1000, "", ""))
    assert await process.identify(signed(session="dead"), may_be_stale=True), "a sign-in asks nothing of him"
    assert process.upstream.asked == []
    assert await process.identify(signed(session="dead")) is None
    assert await tokens_kept(store) == ["s"]
    assert [notice.session_id for notice in process.told.notices if isinstance(notice, SessionRevoked)] == ["dead"]
    strict = Process(store, clocks, is_strict=True)
    strict.feed.is_current = True
    await store.begin(NewSession("dead", ANN, "dead token", NOW + 1000, "", ""))
    with pytest.raises(SessionEnded):
        await strict.identify(signed(session="dead"))


@pytest.mark.parametrize("status", [0, 429, 500])
async def test_whom_pocketbase_does_not_speak_of_goes_on_unconfirmed(
    store: Watched, clocks: Clocks, status: int
) -> None:
    process = Process(store, clocks, status=lambda _token: status)
    process.feed.is_current = True
    for asked in (1, 2):
        principal = await process.identify(signed())
        assert principal
        assert not process.callers.is_confirmed(principal)
        assert len(process.upstream.asked) == asked


async def test_an_answer_that_a_change_has_overtaken_confirms_nothing(store: Watched, clocks: Clocks) -> None:
    process: Process

    def changed_meanwhile(_token: str) -> int:
        process.callers.account_changed(ANN)
        return 200

    process = Process(store, clocks, status=changed_meanwhile)
    process.feed.is_current = True
    principal = await process.identify(signed())
    assert principal
    assert not process.callers.is_confirmed(principal)


async def test_a_successor_says_the_same_under_a_new_generation() -> None:
    claims = successor_claims(signed(), generation=2, token_id="new", now=NOW + 60)
    assert (claims["gen"], claims["jti"], claims["iat"], claims["exp"]) == (2, "new", NOW + 60, NOW + 1000)
    assert (claims["sub"], claims["sid"], claims["realm_access"]) == ("ann", "s", {"roles": ["editor"]})


async def tokens_kept(store: Watched) -> Sequence[str]:
    return sorted(held.session_id for held in await store.held_by(ANN))


async def test_a_recheck_ends_those_that_pocketbase_does_not_take(store: Watched, clocks: Clocks) -> None:
    process = Process(store, clocks)
    for id, token in (("dead", "dead token"), ("kept", "dead too")):
        await store.begin(NewSession(id, ANN, token, NOW + 1000, "Firefox", "203.0.113.7"))
    assert await process.endings.recheck(ANN, keep="kept") == 1
    assert await tokens_kept(store) == ["kept", "s"]


async def test_where_pocketbase_does_not_say_a_doubtful_session_ends(store: Watched, clocks: Clocks) -> None:
    for status in (0, 500):
        endings = Endings(store, TokenQuestions(MemoryUpstream(lambda _token, status=status: status)), Told())
        await store.begin(NewSession("doubtful", ANN, "pb", NOW + 1000, "", ""))
        assert await endings.recheck(ANN, keep="s") == 1
    assert await tokens_kept(store) == ["s"]


async def test_what_the_store_could_not_end_is_ended_once_it_is_back(store: Watched, clocks: Clocks) -> None:
    process = Process(store, clocks)
    store.is_away = True
    await process.endings.follow([Ended(ANN, "credentials changed")])
    store.is_away = False
    assert await tokens_kept(store) == ["s"]
    running = asyncio.create_task(process.endings.run())
    await eventually(lambda: tokens_kept(store), lambda kept: not kept)
    running.cancel()


async def test_a_notice_is_carried_out_even_if_the_store_was_away_meanwhile(store: Watched, clocks: Clocks) -> None:
    process, away = Process(store, clocks), asyncio.Event()

    class Flickering(Endings):
        async def ban(self, notice: UserBanned) -> None:
            if not away.is_set():
                away.set()
                raise UpstreamUnavailable("away")
            await super().ban(notice)
            done.set()

    done = asyncio.Event()
    obedience = Obedience(Flickering(store, TokenQuestions(process.upstream), process.told))
    obedience.heard(UserBanned(subject="ann"))
    running = asyncio.create_task(obedience.run())
    await asyncio.wait_for(done.wait(), 5)
    running.cancel()
    assert await process.identify(signed()) is None


async def test_a_hit_costs_a_few_microseconds(store: Watched, clocks: Clocks) -> None:
    process, token = Process(store, clocks), signed()
    await process.identify(token)
    fastest_seconds = min(timed(process.callers, token) for _ in range(20))
    assert fastest_seconds < 5e-6, "the fast path has become slow"


def timed(callers: Callers, token: str, times: int = 500) -> float:
    begun = time.perf_counter()
    for _ in range(times):
        callers.known(token)
    return (time.perf_counter() - begun) / times
