"""Who is told, who is cut off, and who is told nothing any more, without a server."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import pytest

from common.core.errors import Forbidden, InvalidRequest, NotFound, UpstreamUnavailable
from common.core.notices import SessionRevoked, UserBanned
from common.core.pocketbase_answers import Action
from common.core.record_feed import RecordImage
from common.serving.direct_writes import Outlet
from gateway.core.caching.read_plan import Plans
from gateway.core.front_door.exchange import UpstreamAnswer, UpstreamRequest
from gateway.core.realtime.caller import Caller
from gateway.core.refusals import SessionEnded
from gateway.core.sessions.session import Owner
from gateway.realtime.clients import SSE, WEBSOCKET, Client, Framing
from gateway.realtime.hub import Hub, HubTerms
from tests.unit.gateway import schemas

WAITING_BYTES = 1000
OPEN = schemas.collection("open", schemas.field("title"), schemas.field("secret", hidden=True))
OWNED = schemas.collection("owned", schemas.field("owner"), listRule="owner = @request.auth.id")
ROLED = schemas.collection("roled", schemas.field("audience"), listRule="audience = @request.auth.role")
FUZZY = schemas.collection("fuzzy", schemas.field("title"), listRule="title ~ 'a'")
ANN = Caller("id_users", "ann", "s1", 1, 1000)
BOB = Caller("id_users", "bob", "s2", 1, 2000)


class Line:
    """A connection that keeps what is written to it; `waits` is what its client has not read."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.waits = 0
        self.is_gone = False

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def is_closing(self) -> bool:
        return self.is_gone

    def close(self) -> None:
        self.is_gone = True

    def abort(self) -> None:
        self.is_gone = True

    def get_write_buffer_size(self) -> int:
        return self.waits


class Absent:
    """An upstream that is away, a session store that knows no session, and a record of everybody."""

    def __init__(self) -> None:
        self.records: dict[str, dict[str, Any]] = {}
        self.counted: list[tuple[str, str, str]] = []

    async def require_read(self, action: str, collection: str, owner: Owner | None, address: str) -> None:
        self.counted.append((action, collection, owner.record_id if owner else address))

    @asynccontextmanager
    async def exchange(self, request: UpstreamRequest) -> AsyncGenerator[UpstreamAnswer]:
        raise UpstreamUnavailable(f"away for {request.method}")
        yield

    async def pocketbase_token(self, caller: Caller) -> str:
        raise UpstreamUnavailable(f"away for {caller.session_id}")

    async def signed_in(self, collection: str, id: str) -> Mapping[str, Any]:
        await asyncio.sleep(0)
        return self.records.get(id, {"id": id, "collectionId": collection, "role": "staff"})


@dataclass
class Ruled:
    plans: Plans | None
    kept: frozenset[str] = frozenset()

    def check(self, texts: Iterable[object]) -> None:
        if self.kept.intersection(texts):
            raise Forbidden("Rules have a say.")


class Noted:
    def __init__(self) -> None:
        self.ended: list[Client] = []

    def later(self, client: Client) -> None:
        self.ended.append(client)


@dataclass
class Place:
    hub: Hub
    ruled: Ruled
    ending: Noted
    absent: Absent
    lines: dict[str, Line] = field(default_factory=dict[str, Line])
    _sequence: int = 0

    async def client(self, caller: Caller | None, *topics: str, framing: Framing = SSE) -> str:
        line, id = Line(), self.hub.new_id()
        self.hub.open(id, Outlet(line), framing, "10.0.0.1")
        self.lines[id] = line
        await self.hub.set_subscriptions(id, "10.0.0.1", caller, list(topics))
        return id

    async def write(self, collection: str, action: Action = "create", **record: Any) -> None:
        self._sequence += 1
        record = {"id": "r1", "collectionId": f"id_{collection}", "collectionName": collection, **record}
        await self.hub.take(
            RecordImage(
                epoch="e",
                sequence=self._sequence,
                collection=collection,
                collection_id=f"id_{collection}",
                id=record["id"],
                action=action,
                record=record,
            )
        )

    def heard(self, id: str) -> int:
        return len(self.lines[id].written)


@pytest.fixture
def place() -> Place:
    rows = [*schemas.ROWS, OPEN, OWNED, ROLED, FUZZY]
    ruled, ending, absent = Ruled(Plans(schemas.Schema(rows))), Noted(), Absent()
    terms = HubTerms("0" * 16, max_clients=8, most_waiting_bytes=WAITING_BYTES)
    hub = Hub(ruled, absent, ending, terms, upstream=absent, tokens=absent, topics=ruled, counting=absent)
    return Place(hub, ruled, ending, absent)


async def test_a_snapshot_counts_as_the_read_that_it_is(place: Place) -> None:
    wanted = quote('{"query":{"snapshot":"1"}}')
    for caller, topic in ((None, "open/*"), (ANN, "open/r1")):
        with pytest.raises(UpstreamUnavailable):
            await place.client(caller, f"{topic}?options={wanted}")
    assert place.absent.counted == [("list", "open", "10.0.0.1"), ("view", "open", ANN.record_id)]


async def test_everybody_is_told_what_everybody_may_see_and_no_hidden_field(place: Place) -> None:
    guest, ann = await place.client(None, "open/*"), await place.client(ANN, "open/*")
    socket = await place.client(None, "open/*", framing=WEBSOCKET)
    await place.write("open", title="t", secret="not this")
    data = b'{"action":"create","record":{"collectionId":"id_open","collectionName":"open","id":"r1","title":"t"}}'
    assert place.lines[guest].written == place.lines[ann].written
    assert place.lines[guest].written[0].endswith(b"event:open/*\ndata:" + data + b"\n\n\r\n")
    assert place.lines[socket].written[0].endswith(b'{"event":"open/*","data":' + data + b"}")


async def test_topics_are_judged_by_the_rules_of_the_process_that_holds_the_client(place: Place) -> None:
    guest = await place.client(None)
    place.ruled.kept = frozenset(["open/*"])
    with pytest.raises(Forbidden):  # another process, with the rules of before, has let it through
        await place.hub.set_subscriptions(guest, "10.0.0.1", None, ["open/*"])
    await place.write("open", title="t")
    assert place.heard(guest) == 0


async def test_an_owner_is_told_and_nobody_else(place: Place) -> None:
    ann, bob = await place.client(ANN, "owned/*"), await place.client(BOB, "owned/*")
    await place.write("owned", owner="ann")
    await place.write("owned", "update", owner="bob")
    await place.write("owned", "delete", owner="bob")
    assert (place.heard(ann), place.heard(bob)) == (1, 2)


async def test_a_field_that_bears_several_owners_by_now_is_nobodys(place: Place) -> None:
    ann, bob = await place.client(ANN, "owned/*"), await place.client(BOB, "owned/*")
    await place.write("owned", owner=["ann", "bob"])
    await place.write("owned", "update", owner="bob")
    assert (place.heard(ann), place.heard(bob)) == (0, 1)


async def test_a_caller_whose_field_bears_several_values_by_now_is_told_of_none(place: Place) -> None:
    place.absent.records = {"ann": {"id": "ann", "role": ["staff"]}}
    ann = await place.client(ANN, "roled/*")
    for audience in ("staff", "", ["staff"]):
        await place.write("roled", audience=audience)
    await place.write("users", "update", id="ann", role="staff")
    await place.write("roled", audience="staff")
    assert place.heard(ann) == 1


async def test_who_is_told_follows_the_callers_own_record(place: Place) -> None:
    place.absent.records = {"ann": {"id": "ann", "role": "staff"}}
    ann = await place.client(ANN, "roled/*")
    await place.write("roled", audience="staff")
    await place.write("users", "update", id="ann", role="guest")
    await place.write("roled", audience="staff")
    assert place.heard(ann) == 1
    await place.write("roled", audience="guest")
    assert place.heard(ann) == 2


async def test_what_was_told_of_a_caller_while_he_was_read_is_newer(place: Place) -> None:
    reading = asyncio.ensure_future(place.client(ANN, "roled/*"))
    await asyncio.sleep(0)
    await place.write("users", "update", id="ann", role="guest")
    ann = await reading
    await place.write("roled", audience="staff")
    assert place.heard(ann) == 0


async def test_the_last_subscriptions_count_and_none_is_an_end(place: Place) -> None:
    ann = await place.client(ANN, "owned/*", "open/*")
    await place.hub.set_subscriptions(ann, "10.0.0.1", ANN, ["open/*"])
    await place.write("owned", owner="ann")
    assert place.heard(ann) == 0
    await place.hub.set_subscriptions(ann, "10.0.0.1", ANN, [])
    await place.write("open", title="t")
    assert place.heard(ann) == 0


async def test_who_reads_too_slowly_is_cut_and_the_others_are_told(place: Place) -> None:
    slow, quick = await place.client(None, "open/*"), await place.client(None, "open/*")
    place.lines[slow].waits = WAITING_BYTES + 1
    await place.write("open", title="t")
    assert place.lines[slow].is_gone
    assert (place.heard(slow), place.heard(quick)) == (0, 1)
    with pytest.raises(NotFound):
        await place.hub.set_subscriptions(slow, "10.0.0.1", None, [])


async def test_ids_belong_to_an_address_and_an_account(place: Place) -> None:
    ann = await place.client(ANN, "open/*")
    for address, caller, refusal in (
        ("10.0.0.2", ANN, InvalidRequest),
        ("10.0.0.1", BOB, Forbidden),
        ("10.0.0.1", None, Forbidden),
    ):
        with pytest.raises(refusal):
            await place.hub.set_subscriptions(ann, address, caller, [])
    await place.hub.set_subscriptions(ann, "10.0.0.1", Caller("id_users", "ann", "s9", 1, 1000), ["open/*"])
    place.hub.heard(SessionRevoked(session_id="s1"))
    assert not place.ending.ended, "the stream is now of another session of the account"
    place.hub.heard(SessionRevoked(session_id="s9"))
    assert len(place.ending.ended) == 1


async def test_a_session_that_ended_on_its_way_is_not_let_in(place: Place) -> None:
    place.hub.heard(SessionRevoked(session_id="s1"))
    with pytest.raises(SessionEnded):
        await place.client(ANN, "open/*")


async def test_a_ban_and_an_expiry_end_the_streams_of_one_and_a_loss_those_of_all_members(place: Place) -> None:
    ann, bob, guest = [await place.client(caller, "open/*") for caller in (ANN, BOB, None)]
    place.hub.heard(UserBanned(subject="ann", collection_id="id_staff"))
    place.hub.expire(999)
    assert not place.ending.ended
    place.hub.heard(UserBanned(subject="ann"))
    place.hub.expire(2000)
    assert [client.id for client in place.ending.ended] == [ann, bob]
    third = await place.client(Caller("id_users", "cid", "s3", 1, 3000), "open/*")
    place.hub.missed()
    assert [client.id for client in place.ending.ended] == [ann, bob, third]
    await place.write("open", title="t")
    assert [place.heard(id) for id in (ann, bob, third, guest)] == [0, 0, 0, 1]


async def test_an_account_that_is_deleted_has_no_streams(place: Place) -> None:
    await place.client(ANN, "open/*")
    await place.write("users", "delete", id="ann")
    assert len(place.ending.ended) == 1


async def test_while_rules_are_not_known_nobody_subscribes(place: Place) -> None:
    guest = await place.client(None)
    place.ruled.plans = None
    with pytest.raises(UpstreamUnavailable):
        await place.hub.set_subscriptions(guest, "10.0.0.1", None, ["open/*"])


async def test_what_pocketbase_would_have_to_say_waits_for_pocketbase(place: Place) -> None:
    with pytest.raises(UpstreamUnavailable):
        await place.client(None, "fuzzy/*")


async def test_there_is_room_for_so_many_and_a_place_that_is_left_is_free(place: Place) -> None:
    for _ in range(8):
        await place.client(None)
    with pytest.raises(UpstreamUnavailable):
        place.hub.new_id()
    place.hub.close(place.hub.clients[0])
    assert await place.client(None)


async def test_a_client_is_told_of_itself_only_what_it_asked_for(place: Place) -> None:
    guest = await place.client(None, "@oauth2")
    for id, address, topic in (
        (guest, "10.0.0.1", "@other"),
        (guest, "10.0.0.2", "@oauth2"),
        ("gw-nobody", "10.0.0.1", "@oauth2"),
    ):
        with pytest.raises(NotFound):
            await place.hub.tell_client(id, address, topic, b"{}")
    await place.hub.tell_client(guest, "10.0.0.1", "@oauth2", b'{"state":"x"}')
    assert place.heard(guest) == 1
    with pytest.raises(NotFound):
        await place.hub.tell_client(guest, "10.0.0.1", "@oauth2", b"{}")


async def test_of_collections_without_images_only_pocketbase_tells(place: Place) -> None:
    ann = await place.client(ANN, "open/*")
    place.hub.without_images(frozenset({"id_open"}))
    assert [client.id for client in place.ending.ended] == [ann], "what was decided here cannot be any more"
    with pytest.raises(UpstreamUnavailable):
        await place.client(ANN, "open/*")
    place.hub.without_images(frozenset({"id_open"}))
    place.hub.without_images(frozenset())
    assert await place.client(ANN, "open/*")


async def test_who_does_not_read_is_told_nothing_more_in_answer_either(place: Place) -> None:
    guest = await place.client(None)
    (client,) = place.hub.clients
    place.hub.say(client, "PB_ERROR", b"{}")
    place.lines[guest].waits = WAITING_BYTES + 1
    place.hub.say(client, "PB_ERROR", b"{}")
    assert (place.heard(guest), place.lines[guest].is_gone) == (1, True)
    place.hub.say(client, "PB_ERROR", b"{}")
    assert place.heard(guest) == 1


async def test_what_is_noted_of_those_who_have_left_does_not_grow(place: Place) -> None:
    stays = await place.client(BOB, "open/*")
    for number in range(100):
        await place.client(Caller("id_users", "ann", f"s{number}", 1, 1000), "open/*")
        place.hub.close(next(client for client in place.hub.clients if client.id != stays))
    assert len(place.hub._expiries) <= 2 * place.hub.terms.max_clients + 1
    place.hub.expire(2000)
    assert [client.id for client in place.ending.ended] == [stays]
