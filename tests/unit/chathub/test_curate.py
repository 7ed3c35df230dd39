"""What is left of a channel when an admin has deleted it."""

from chathub.core.bus_messages import Notice
from chathub.curate import Announcing, Change, Curator, NewChannel
from common.core.identity import Identity

NEWS = 7
ADMIN = Identity(
    issuer="i",
    subject="boss",
    username="Boss",
    client_id="c",
    roles=frozenset({"admin"}),
    session_id=None,
    expires_at=0,
    claims={},
)


class Log:
    def __init__(self) -> None:
        self.said = [(1, "elsewhere"), (NEWS, "before")]

    async def purge_room(self, channel_id: int) -> None:
        self.said = [(said_in, text) for said_in, text in self.said if said_in != channel_id]


class BusyChannels:
    """Somebody says something in a channel while it is being deleted."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def create(self, actor_id: str, channel: NewChannel) -> None: ...

    async def change(self, actor_id: str, change: Change) -> None: ...

    async def delete(self, actor_id: str, id: int, *, purge: bool) -> None:
        assert (actor_id, purge) == ("boss", True)
        self._log.said.append((id, "meanwhile"))


class Nobody:
    """To be told, and nothing to be read anew."""

    async def tell(self, notice: Notice) -> None: ...

    async def refresh(self) -> None: ...


async def test_a_purge_leaves_nothing_in_the_log_of_what_was_said_until_the_channel_was_gone() -> None:
    log = Log()
    await Curator(BusyChannels(log), log, Announcing(Nobody(), Nobody())).delete(ADMIN, NEWS, purge=True)
    assert log.said == [(1, "elsewhere")]
