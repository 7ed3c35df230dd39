"""The platform's own services reach their subjects and no others."""

from pathlib import Path

import pytest
from nats.js.api import StreamConfig

from common.adapters.nats_bus import open_bus
from common.adapters.nats_notices import NoticeStream
from common.core import subjects
from common.core.notices import SessionRevoked
from tests.servers.natsync import Stack, connected_with

FOREIGN_TO_CHATHUB = (
    ">",
    "*.>",
    subjects.IMAGES,
    subjects.RECORDS,
    subjects.CACHE_INVALIDATE,
    subjects.NATSYNC_RPC,
    subjects.inbox("gateway"),
    "_INBOX.>",
    "$JS.>",
)


def creds(natsync: Stack, name: str) -> Path:
    return natsync.directory / "creds" / f"{name}.creds"


@pytest.mark.parametrize("subject", FOREIGN_TO_CHATHUB)
async def test_chathub_hears_no_one_elses_subjects(natsync: Stack, subject: str) -> None:
    async with connected_with(natsync.nats_url, creds(natsync, "chathub"), name="chathub") as chathub:
        await chathub.client.subscribe(subject)
        await chathub.is_refused(subject)


@pytest.mark.parametrize("name", ["gateway", "chathub"])
@pytest.mark.parametrize("subject", ["records.users.create", "images.users.create", "_INBOX.natsync.x", "anything"])
async def test_only_natsync_publishes_the_record_feed(natsync: Stack, name: str, subject: str) -> None:
    async with connected_with(natsync.nats_url, creds(natsync, name), name=name) as service:
        await service.client.publish(subject, b"forged")
        await service.is_refused(subject)


async def test_the_gateway_hears_the_feed_that_natsync_publishes(natsync: Stack) -> None:
    async with (
        connected_with(natsync.nats_url, creds(natsync, "gateway"), name="gateway") as gateway,
        connected_with(natsync.nats_url, creds(natsync, "natsync"), name="natsync") as feed,
    ):
        heard = await gateway.hears(subjects.IMAGES)
        await feed.client.publish("images.users.create", b"1")
        assert (await heard.next_msg(timeout=2)).data == b"1"


async def test_the_gateway_asks_natsync_and_natsync_may_answer(natsync: Stack) -> None:
    async with (
        connected_with(natsync.nats_url, creds(natsync, "gateway"), name="gateway") as gateway,
        connected_with(natsync.nats_url, creds(natsync, "natsync"), name="natsync") as asked,
    ):
        requests = await asked.hears(subjects.NATSYNC_RPC)
        reply = await gateway.hears("_INBOX.gateway.answer")
        await gateway.client.publish("natsync.rpc.tests", b"", reply="_INBOX.gateway.answer")
        await (await requests.next_msg(timeout=2)).respond(b"fine")
        assert (await reply.next_msg(timeout=2)).data == b"fine"


async def test_the_processes_of_the_gateway_answer_each_other(natsync: Stack) -> None:
    path = creds(natsync, "gateway")
    async with (
        connected_with(natsync.nats_url, path, name="gateway") as asking,
        connected_with(natsync.nats_url, path, name="gateway") as asked,
    ):
        question = subjects.worker("other", "subscribe")
        questions, reply = await asked.hears(question), await asking.hears("_INBOX.gateway.answer")
        await asking.client.publish(question, b"", reply="_INBOX.gateway.answer")
        await (await questions.next_msg(timeout=2)).respond(b"fine")
        assert (await reply.next_msg(timeout=2)).data == b"fine"


async def test_chathub_owns_its_stream_and_reaches_no_other(natsync: Stack) -> None:
    async with connected_with(natsync.nats_url, creds(natsync, "chathub"), name="chathub") as chathub:
        stream = chathub.client.jetstream(timeout=2)
        await stream.add_stream(StreamConfig(name=subjects.CHAT_STREAM, subjects=[subjects.CHAT_IN]))
        assert (await stream.publish("chat.in.room.one", b"hello")).seq == 1
        await chathub.client.publish("$JS.API.STREAM.CREATE.OTHER", b"{}")
        await chathub.is_refused("OTHER")


async def test_chathub_reads_which_sessions_ended_and_cannot_take_any_of_it_away(natsync: Stack) -> None:
    path = creds(natsync, "gateway")
    async with (
        open_bus(natsync.nats_url, name="gateway", creds=path) as gateway,
        open_bus(natsync.nats_url, name="chathub", creds=creds(natsync, "chathub")) as bus,
        connected_with(natsync.nats_url, creds(natsync, "chathub"), name="chathub") as chathub,
    ):
        told = NoticeStream(bus, "chathub").batches()
        await anext(told)  # the stream is there
        ended = SessionRevoked(session_id="s1")
        await gateway.publish(subjects.SESSION_REVOKED, ended)
        async for batch in told:
            if ended in [one.notice for one in batch.told]:
                break
        await told.aclose()
        for verb in ("PURGE", "DELETE", "UPDATE"):
            await chathub.client.publish(subjects.stream_request(verb, subjects.NOTICES_STREAM), b"{}")
            await chathub.is_refused(verb)


async def test_the_system_user_does_claims_and_connections_and_nothing_else(natsync: Stack) -> None:
    async with connected_with(natsync.nats_url, creds(natsync, "sys"), name="sys") as system:
        for subject in ("$SYS.REQ.SERVER.PING.VARZ", "$SYS.REQ.SERVER.X.RELOAD", "$SYS.REQ.SERVER.X.LDM"):
            await system.client.publish(subject, b"")
            await system.is_refused(subject)
        await system.client.subscribe("$SYS.ACCOUNT.*.CONNECT")  # would tell every login's token
        await system.is_refused("CONNECT")
        await system.client.subscribe("$SYS.>")
        await system.is_refused("$SYS.>")
