"""Claims at random, from plain to unfit: for properties in unit tests, and for comparing with what a server makes of
them."""

from dataclasses import dataclass, replace
from random import Random

from natsync.core.claims.account_claims import (
    AccountClaims,
    AccountLimits,
    Authorization,
    Export,
    ExportKind,
    Import,
    Latency,
    ScopedKey,
)
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.token_codec import encode
from natsync.core.claims.user_claims import Permissions, ResponsePermission, TimeRange, UserClaims, UserLimits

KINDS: tuple[ExportKind, ...] = ("stream", "service")
PLAIN = ("a", "b", "c", "order", "$SYS", "é", "*", "*", "*")
UNFIT = ("", " ", "a*", "$1", "$2", "$0", "{{name()}}", ">", "\t", "x" * 1001)
ALL_DAY = (TimeRange("00:00:00", "23:59:59"), TimeRange("23:59:58", "00:00:02"))
TEMPLATES = ("{{name()}}", "{{subject()}}", "{{account-subject()}}", "{{tag(team)}}", "u-{{name()}}", "{{tag(none)}}")


def key_pairs(kind: KeyKind, count: int) -> list[KeyPair]:
    return [KeyPair(kind, bytes([number + 1]) * 32) for number in range(count)]


ACCOUNTS = key_pairs(KeyKind.ACCOUNT, 4)
USERS = key_pairs(KeyKind.USER, 3)


@dataclass(frozen=True, slots=True)
class RandomClaims:
    """With `unfit` above 0 that share of what it makes is not what it should be."""

    random: Random
    unfit: float = 0

    def maybe(self, share: float = 0.3) -> bool:
        return self.random.random() < share

    def subject(self, *, templates: bool = False) -> str:
        tokens = [self.token(templates=templates) for _ in range(self.random.randint(1, 4))]
        return ".".join([*tokens, ">"] if self.maybe(0.2) else tokens)

    def token(self, *, templates: bool) -> str:
        if self.unfit and self.maybe(self.unfit):
            return self.random.choice(UNFIT)
        return self.random.choice(TEMPLATES if templates and self.maybe(0.3) else PLAIN)

    def subjects(self, *, queues: bool = False, templates: bool = False) -> tuple[str, ...]:
        """Queue groups and templates do not go together."""
        count = self.random.choice((0, 0, 1, 2, 5))
        templates = templates and self.maybe(0.5)
        found = [self.subject(templates=templates) for _ in range(count)]
        if queues and not templates:
            found = [f"{each} workers" if self.maybe(0.2) else each for each in found]
        return tuple(dict.fromkeys(found))

    def permissions(self, *, templates: bool = False) -> Permissions:
        return Permissions(
            publish=self.subjects(templates=templates),
            subscribe=self.subjects(queues=True, templates=templates),
            publish_deny=self.subjects(),
            subscribe_deny=self.subjects(queues=True),
            response=self.response() if self.maybe() else None,
        )

    def response(self) -> ResponsePermission:
        return ResponsePermission(self.random.choice((-1, 0, 1, 5)), self.random.choice((-1, 0, 0.5, 60)))

    def limit(self) -> int:
        return self.random.choice((-2 if self.maybe(self.unfit) else -1, -1, 100, 1_000_000))

    def user(self, *, templates: bool = False) -> UserClaims:
        unfit = self.maybe(self.unfit)
        return UserClaims(
            permissions=self.permissions(templates=templates),
            limits=UserLimits(self.limit(), self.limit(), self.limit()),
            source_networks=("127.0.0.0/8", "300.0.0.0/8" if unfit else "::1/128") if self.maybe(0.2) else (),
            times=(*ALL_DAY, TimeRange("00:00:00", "25:00:00")) if unfit else ALL_DAY if self.maybe(0.1) else (),
            times_location="UTC" if self.maybe(0.1) else "",
            connection_types=("STANDARD", "CARRIER_PIGEON" if unfit else "MQTT") if self.maybe(0.2) else (),
        )

    def account(self) -> AccountClaims:
        """Of the first account; it imports from the others."""
        many = range(self.random.randint(0, 3))
        return AccountClaims(
            signing_keys=self.signing_keys(),
            limits=AccountLimits(*(self.limit() for _ in range(6))),
            revocations={user.public_key: self.random.randint(0, 2**31) for user in USERS if self.maybe()},
            exports=[self.export() for _ in many],
            imports=[self.imported() for _ in many],
            default_permissions=self.permissions() if self.maybe() else Permissions(),
            authorization=self.authorization() if self.maybe(0.2) else None,
            description="tenant" if self.maybe() else "",
        )

    def signing_keys(self) -> list[str | ScopedKey]:
        plain = "junk" if self.maybe(self.unfit) else ACCOUNTS[1].public_key
        scoped = ScopedKey(ACCOUNTS[2].public_key, "reader", self.user(templates=True), "reads")
        return [plain, scoped] if self.maybe(0.5) else [plain]

    def export(self) -> Export:
        kind, subject = self.random.choice(KINDS), self.subject()
        export = Export(subject, kind, token_required=self.maybe(), advertise=self.maybe())
        if self.maybe() and "*" in subject.split("."):
            export = replace(export, account_token_position=subject.split(".").index("*") + 1)
        if kind == "stream" and not self.maybe(self.unfit):
            return export
        return replace(
            export,
            response_type=self.random.choice(("", "Singleton", "Stream", "Chunked")),
            response_milliseconds=self.random.choice((0, 1500)),
            latency=Latency("latency.a", self.random.choice((0, 50))) if self.maybe() else None,
            allow_trace=self.maybe(0.1),
        )

    def imported(self) -> Import:
        kind, subject, exporter = self.random.choice(KINDS), self.subject(), self.random.choice(ACCOUNTS[1:])
        tokens = [f"${number}" for number in range(1, subject.split(".").count("*") + 1)]
        local = ".".join(["here", *tokens, ">"] if subject.endswith(">") else ["here", *tokens])
        sharing = self.maybe(0.2) and (kind == "service" or self.maybe(self.unfit))
        return Import(
            self.subject() if self.maybe(self.unfit) else subject,
            self.random.choice((ACCOUNTS[0].public_key, "", "AXX")) if self.maybe(self.unfit) else exporter.public_key,
            kind,
            local_subject=local if self.maybe(0.5) else "",
            token=self.activation(kind, subject, exporter) if self.maybe() else "",
            share=sharing,
        )

    def activation(self, kind: ExportKind, subject: str, exporter: KeyPair) -> str:
        importer = self.random.choice(ACCOUNTS) if self.maybe(self.unfit) else ACCOUNTS[0]
        granted = self.subject() if self.maybe(self.unfit) else subject
        body = activation_body(subject=granted, kind=kind, exporter=exporter.public_key)
        return encode(body, subject=importer.public_key, name="grant", issuer=exporter, issued_at=5)

    def authorization(self) -> Authorization:
        users = tuple(user.public_key for user in USERS[:2])
        allowed = ("*", ACCOUNTS[1].public_key) if self.maybe(self.unfit) else ("*",)
        return Authorization(() if self.maybe(self.unfit) else users, allowed)
