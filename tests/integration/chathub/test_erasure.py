"""What is deleted, or edited again, is in no entry of the log any more, whoever reads that."""

import secrets
from datetime import UTC, datetime

import asyncpg
import nats
from nats.js import JetStreamContext
from nats.js.errors import NotFoundError

from chathub.core.bus_messages import Amendment, RoomMessage, encode, read_message, subject_of
from tests.chat_client import ChatClient, chatting
from tests.eventually import eventually
from tests.servers.chathub import Chathub
from tests.servers.issuer import Issuer

STREAM = "CHAT"


async def holding(log: JetStreamContext, first: int, word: str) -> list[str]:
    """The texts from that place on in which the word stands, read entry by entry."""
    last = (await log.stream_info(STREAM)).state.last_seq
    found: list[str] = []
    for place in range(first, last + 1):
        try:
            entry = await log.get_msg(STREAM, seq=place, direct=True)
        except NotFoundError:
            continue
        if word.encode() in (entry.data or b""):
            found.append(str(read_message(entry.data or b"").message))
    return found


async def edited_twice(client: ChatClient, word: str) -> int:
    place = await client.acked(word)
    for number in (2, 3):
        await client.send(
            type="edit_message", cacheID=place, message=f"{word} {number}", client_msg_id=f"{word}-{number}"
        )
        await client.acked(f"{word}-{number}")
    return place


async def test_of_an_edited_message_the_log_keeps_the_last_wording_and_of_a_deleted_one_none(
    node: Chathub, tokens: Issuer, environment: dict[str, str]
) -> None:
    word, whispered = f"word{secrets.token_hex(6)}", f"whispered{secrets.token_hex(6)}"
    bus = await nats.connect(environment["NATS_URL"])
    log = bus.jetstream()
    async with chatting(node.ws, tokens.token("ann"), resume="new") as ann:
        await ann.say(f"{word} 1", client_msg_id=word)
        place = await edited_twice(ann, word)
        await ann.whisper("ann", f"{whispered} 1", client_msg_id=whispered)
        whisper = await edited_twice(ann, whispered)
        await eventually(lambda: holding(log, place, word), lambda texts: texts == [f"{word} 1", f"{word} 3"])
        await ann.send(type="delete_message", cacheID=place)
        await ann.send(type="delete_message", cacheID=whisper)
        await ann.until("message_deleted", lambda told: told["cacheID"] == whisper)
        await eventually(lambda: holding(log, place, word), lambda texts: texts == [])
        await eventually(lambda: holding(log, place, whispered), lambda texts: texts == [])
        epoch = int(ann.place().partition(".")[0])
        await log.publish(*late_edit(epoch, place, word))
        await eventually(lambda: holding(log, place, word), lambda texts: texts == [])
    await bus.close()


async def test_what_was_set_aside_is_gone_too_once_it_is_deleted(
    node: Chathub, tokens: Issuer, environment: dict[str, str], database_url: str
) -> None:
    bus, rows = await nats.connect(environment["NATS_URL"]), await asyncpg.connect(database_url)
    log, word = bus.jetstream(), f"aside{secrets.token_hex(6)}"
    unstorable = RoomMessage(
        owner_id="ann", username="Ann", channel_id=1, channel="x" * 25, message=word, authored_at=datetime.now(UTC)
    )
    place = (await log.publish(subject_of(unstorable), encode(unstorable))).seq
    letters = "select count(*) from chatserver.dead_letters where cache_id = $1"
    await eventually(lambda: rows.fetchval(letters, place), lambda count: count == 1)
    async with chatting(node.ws, tokens.token("ann")) as ann:
        await ann.send(type="delete_message", cacheID=place)
        await eventually(lambda: holding(log, place, word), lambda texts: texts == [])
    await eventually(lambda: rows.fetchval(letters, place), lambda count: count == 0)
    await rows.close()
    await bus.close()


def late_edit(epoch: int, place: int, word: str) -> tuple[str, bytes]:
    """Of a node that had not heard of the deletion."""
    edit = Amendment(
        target_epoch=epoch,
        target=place,
        owner_id="ann",
        actor_id="ann",
        message=f"{word} 4",
        authored_at=datetime.now(UTC),
        channel_id=1,
    )
    return subject_of(edit), encode(edit)
