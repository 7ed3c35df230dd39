"""What nats-servers answer, and who of them is there to answer.

Each server of a cluster answers for itself. A system request is therefore answered by as many as there are, and what
one of them says is true of that one alone. Source: nats-server `events.go`, `accounts.go` (DirAccResolver).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import msgspec


class Unreadable(ValueError):
    """An answer without a server in it, or no JSON at all: it proves nothing."""


@dataclass(frozen=True, slots=True)
class Server:
    """`id` is new at every start of a process; `name` stays, and is the only one of its kind in its cluster."""

    id: str
    name: str
    cluster: str = ""

    def succeeds(self, other: "Server") -> bool:
        return (self.name, self.cluster) == (other.name, other.cluster) and self.id != other.id


@dataclass(frozen=True, slots=True)
class Answer:
    """`error` is empty unless the server refuses."""

    server: Server
    data: Any
    error: str


def read_answer(payload: bytes) -> Answer:
    """Raises Unreadable."""
    envelope = as_object(payload)
    refusal = envelope.get("error")
    error = ""
    if refusal:
        described = cast("dict[str, Any]", refusal).get("description") if isinstance(refusal, dict) else refusal
        error = str(described or "no reason given")
    return Answer(read_server(envelope), envelope.get("data"), error)


def read_server(envelope: Mapping[str, Any]) -> Server:
    """Raises Unreadable."""
    described = envelope.get("server")
    if not isinstance(described, dict):
        raise Unreadable("the answer names no server")
    told = cast("dict[str, Any]", described)
    if not isinstance(id := told.get("id"), str) or not id:
        raise Unreadable("the answer names no server")
    return Server(id, str(told.get("name") or id), str(told.get("cluster") or ""))


def as_object(payload: bytes) -> dict[str, Any]:
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreadable("the answer is no JSON") from error
    if not isinstance(value, dict):
        raise Unreadable("the answer is no JSON object")
    return cast("dict[str, Any]", value)


def by_server(payloads: Iterable[bytes]) -> dict[str, Answer]:
    """The readable answers, by the server's id; of several from one server the last."""
    found: dict[str, Answer] = {}
    for payload in payloads:
        try:
            answer = read_answer(payload)
        except Unreadable:
            continue
        found[answer.server.id] = answer
    return found


def active_servers(pings: Iterable[bytes]) -> int:
    """How many servers there are, as the one that sees most of them sees it."""
    most = 0
    for payload in pings:
        try:
            statistics = as_object(payload).get("statsz")
        except Unreadable:
            continue
        active = cast("dict[str, Any]", statistics).get("active_servers") if isinstance(statistics, dict) else 0
        most = max(most, active) if isinstance(active, int) else most
    return most


@dataclass(frozen=True, slots=True)
class Roster:
    """The servers by id. Those in `silent` were there and did not answer when they were last asked, since when."""

    servers: Mapping[str, Server] = field(default_factory=dict[str, Server])
    silent: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def present(self) -> frozenset[str]:
        """Ids of those who are waited for."""
        return frozenset(self.servers.keys() - self.silent.keys())

    def names(self, ids: Collection[str]) -> tuple[str, ...]:
        return tuple(sorted(self.servers[id].name if id in self.servers else id for id in ids))

    def with_heard(self, server: Server) -> "Roster":
        """A server that was started again has a new id; the old one will not answer any more."""
        if self.servers.get(server.id) == server and server.id not in self.silent:
            return self
        kept = {id: one for id, one in self.servers.items() if not server.succeeds(one)}
        kept[server.id] = server
        return Roster(kept, {id: since for id, since in self.silent.items() if id in kept and id != server.id})

    def without(self, id: str) -> "Roster":
        if id not in self.servers:
            return self
        return Roster(
            {one: server for one, server in self.servers.items() if one != id},
            {one: since for one, since in self.silent.items() if one != id},
        )

    def with_silent(self, ids: Iterable[str], now: float) -> "Roster":
        missed = {id: self.silent.get(id, now) for id in ids if id in self.servers}
        return replace(self, silent={**self.silent, **missed})

    def without_forgotten(self, before: float) -> "Roster":
        """One that has been silent since `before` is gone for good, for all we know."""
        gone = [id for id, since in self.silent.items() if since < before]
        roster = self
        for id in gone:
            roster = roster.without(id)
        return roster


DIFFERING = ""
"""What stands for an account's token where the servers do not all show the same one, or some show none."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Every account that any server has, by public key, with the token that all of them show, else DIFFERING.

    `servers` and `silent` are the names of those who answered and of those who did not.
    """

    tokens: Mapping[str, str]
    servers: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


def read_accounts(answer: Answer) -> frozenset[str]:
    """Public keys, from a server's list of what it has."""
    return frozenset(map(str, cast("list[Any]", answer.data))) if isinstance(answer.data, list) else frozenset()


def on_some_only(listed: Sequence[Collection[str]]) -> frozenset[str]:
    """`listed` are the accounts that each server has."""
    everywhere = frozenset(listed[0]).intersection(*listed[1:]) if listed else frozenset[str]()
    return frozenset(account for accounts in listed for account in accounts if account not in everywhere)


def agreed(tokens: Sequence[bytes]) -> str:
    """The one token that all servers show, else DIFFERING."""
    first = tokens[0] if tokens else b""
    return first.decode("utf-8", "replace") if first and all(token == first for token in tokens) else DIFFERING


@dataclass(frozen=True, slots=True)
class Publication:
    """What became of one account's token. `refused` are the reasons by server name.

    `asked` servers were there, `showing` of them showed the very token when they were asked for it; of the others
    `lacking` names those that could be found out.
    """

    account: str
    asked: tuple[str, ...]
    accepted: tuple[str, ...]
    refused: Mapping[str, str]
    showing: int
    lacking: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()

    @property
    def is_verified(self) -> bool:
        return bool(self.asked) and self.showing >= len(self.asked)

    @property
    def by_server(self) -> dict[str, str]:
        """How far each server has come, by name; a text of its own is its refusal."""
        found = dict.fromkeys(self.asked, "no answer")
        found |= dict.fromkeys(self.accepted, "accepted")
        found |= dict.fromkeys(self.lacking, "shows another token")
        found |= self.refused
        found |= dict.fromkeys(self.asked, "verified") if self.is_verified else {}
        return {**found, **dict.fromkeys(self.silent, "silent")}

    @property
    def shortcoming(self) -> str:
        """For people: why it is not verified; empty when it is."""
        if self.is_verified:
            return ""
        if self.refused:
            name, reason = min(self.refused.items())
            return f"NATS server {name} refuses: {reason}."
        who = f" ({', '.join(self.lacking)} not)" if self.lacking else ""
        return f"{self.showing} of {len(self.asked)} NATS servers show the token they were given{who}."
