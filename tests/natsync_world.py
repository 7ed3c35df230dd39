"""natsync's pass without PocketBase or NATS: rows in, tokens out, and servers that take everything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

from natsync.adapters.keyring import Keyring
from natsync.core.claims.token_codec import unverified
from natsync.core.claims.user_claims import user_rights
from natsync.core.deciding.decision import Decision, Situation, Terms, decide
from natsync.core.deciding.guard import Guard, Known
from natsync.core.state import desired
from natsync.core.state.desired import Desired, Table
from natsync.core.state.ledger import REMOVED, Entries, Entry, by_place
from natsync.core.state.rights import exceeds
from natsync.core.state.verbs import Action, to_action
from natsync.mint import Minting, minted

NOW = 1_000_000
UNLIMITED = dict.fromkeys(("max_connections", "max_subscriptions", "max_data", "max_payload"), -1)
UNGUARDED = Terms(guard=Guard(accounts=10**9, users=10**9, share=1))
KEYRING = Keyring(b"k" * 32)
OPERATOR = KEYRING.with_keys(Entry("operator", "operator"))


def account(id: str = "a1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id, "active": True, **UNLIMITED, **fields}


def role(id: str = "r1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "name": id, **UNLIMITED, **fields}


def user(id: str = "u1", **fields: Any) -> dict[str, Any]:
    row = {"id": id, "nats_username": id, "account_id": "a1", "role_id": "r1", "active": True}
    return {**row, **fields}


def export(id: str = "e1", **fields: Any) -> dict[str, Any]:
    return {"id": id, "account_id": "a1", "name": id, "subject": f"{id}.>", "type": "stream", **fields}


def imported(id: str = "i1", **fields: Any) -> dict[str, Any]:
    row = {"id": id, "account_id": "a2", "name": id, "account": "a1", "subject": "e1.>", "type": "stream"}
    return {**row, **fields}


def action(id: str, verb: str, record: str = "a1", collection: str = "nats_accounts", argument: str = "") -> Action:
    return to_action({"id": id, "verb": verb, "collection": collection, "record": record, "argument": argument})


@dataclass(frozen=True, slots=True)
class Given:
    """A token as somebody once held it."""

    user: str
    public_key: str
    token: str

    @property
    def claims(self) -> dict[str, Any]:
        return unverified(self.token)


def named(rights: dict[str, Any], name: str) -> dict[str, Any]:
    """Templates filled in as servers do: with anything."""
    return json.loads(json.dumps(rights).replace("{{name()}}", name))


@dataclass(slots=True)
class World:
    accounts: list[dict[str, Any]] = field(default_factory=lambda: [account()])
    roles: list[dict[str, Any]] = field(default_factory=lambda: [role()])
    users: list[dict[str, Any]] = field(default_factory=lambda: [user()])
    exports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    imports: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    entries: Entries = field(default_factory=lambda: Entries(by_place([OPERATOR])))
    observed: dict[str, str] = field(default_factory=dict[str, str])
    given: list[Given] = field(default_factory=list[Given])
    terms: Terms = UNGUARDED
    now: int = NOW

    @property
    def table(self) -> Table:
        return Table(self.accounts, self.roles, self.users, self.exports, self.imports)

    def decide(self, *actions: Action, raised: list[tuple[str, Mapping[str, Any]]] | None = None) -> Decision:
        known = Known(len(self.entries.of_kind("account")), len(self.entries.of_kind("user")))
        situation = Situation(self.table, self.entries, self.observed, known, actions, raised or [])
        return decide(situation, self.terms, KEYRING, self.now)

    def settle(self, *actions: Action, raised: list[tuple[str, Mapping[str, Any]]] | None = None) -> Decision:
        """Carry out what is decided, as reconcile does."""
        decision = self.decide(*actions, raised=raised)
        plan, entries = decision.plan, decision.entries
        entries = entries.having(minted(Minting(KEYRING, entries), plan.publish, plan.issue))
        for mint in plan.publish:
            entry = entries.by_place[mint.entry.place]
            self.observed[entry.public_key] = entry.jwt
        for entry in plan.remove:
            self.observed.pop(entry.public_key, None)
            entries = entries.having([replace(entries.by_place[entry.place], state=REMOVED, content="")])
        self.entries = entries
        for mint in plan.issue:
            entry = entries.by_place[mint.entry.place]
            self.given.append(Given(entry.record, entry.public_key, entry.jwt))
        return decision

    def entry(self, kind: str, record: str) -> Entry:
        return self.entries.by_place[kind, record]

    def is_idle(self) -> bool:
        decision = self.decide()
        return decision.plan.is_empty and decision.entries == self.entries

    def desired(self) -> Desired:
        return desired.of(self.table, self.entries)

    def said(self, record: str = "a1") -> dict[str, Any]:
        """What the servers have of an account."""
        return unverified(self.observed[self.entry("account", record).public_key])["nats"]

    # The servers' part

    def rights(self, given: Given) -> dict[str, Any] | None:
        """What servers let the bearer of a token do; None when they turn it away."""
        claims = given.claims
        token = self.observed.get(claims["nats"]["issuer_account"])
        if token is None or 0 < claims.get("exp", 0) <= self.now:
            return None
        body = unverified(token)["nats"]
        if body.get("revocations", {}).get(given.public_key, -1) >= claims["iat"]:
            return None
        for key in body["signing_keys"]:
            if key == claims["iss"]:
                return claims["nats"]
            if isinstance(key, dict) and key["key"] == claims["iss"]:
                return named(cast(dict[str, Any], key)["template"], claims["name"])
        return None

    def excesses(self) -> list[str]:
        """Tokens that let somebody do what the rows do not allow."""
        wanted = self.desired()
        found: list[str] = []
        for given in self.given:
            rights = self.rights(given)
            if rights is None or given.user in wanted.undecided:
                continue
            if given.user not in wanted.users:
                found.append(f"{given.user} has no row that lets it in")
            elif exceeds(rights, self.allowed(given.user)):
                found.append(f"{given.user} may do {rights}, not only {self.allowed(given.user)}")
            elif given.claims["nats"]["issuer_account"] != self.home(given.user):
                found.append(f"{given.user} is in an account that is not its own")
        return found

    def home(self, id: str) -> str:
        return self.entry("account", self.desired().users[id].account).public_key

    def allowed(self, id: str) -> dict[str, Any]:
        """From the rows alone."""
        wanted = self.desired()
        one = wanted.users[id]
        return named(user_rights(one.own or wanted.templates[one.role]), one.name)

    def latest(self, id: str = "u1") -> Given:
        return next(given for given in reversed(self.given) if given.user == id)
