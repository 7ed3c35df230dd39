"""Rows to the accounts and users wanted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from natsync.core.claims.user_claims import Permissions, UserClaims
from natsync.core.collections.rows import (
    NOTHING,
    Account,
    Offer,
    Role,
    Row,
    Use,
    User,
    sift,
    to_account,
    to_offer,
    to_role,
    to_use,
    to_user,
)
from natsync.core.state.ledger import Entries, Kind
from natsync.core.state.rights import Defaults, merged
from natsync.core.state.templates import TemplateValues, template_faults
from natsync.core.validation.user_validation import user_faults

USUAL = Defaults()
ANY_USER, ANY_ACCOUNT = "U", "A"
"""For public keys, when all that matters of them is that each is one plain token."""


@dataclass(frozen=True, slots=True)
class WantedUser:
    """`own` is what a token of its own would say; None where the role alone counts, by way of a scoped key."""

    id: str
    name: str
    account: str
    role: str
    own: UserClaims | None
    expires_at: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """The rows as they were read, by collection: all of them; or all that concerns the accounts in `focus`, and all
    roles and exports."""

    accounts: Sequence[Row] = ()
    roles: Sequence[Row] = ()
    users: Sequence[Row] = ()
    exports: Sequence[Row] = ()
    imports: Sequence[Row] = ()
    focus: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Desired:
    """`templates` are what a role's users may, by role. `offers` and `uses` are by account.

    `refused` rows keep what they had, by collection and id; `undecided` are the users among them. `suspended` users
    exist and are to have no access; one that is refused as well is unfit for what it has.
    """

    accounts: Mapping[str, Account] = field(default_factory=dict[str, Account])
    users: Mapping[str, WantedUser] = field(default_factory=dict[str, WantedUser])
    suspended: Mapping[str, User] = field(default_factory=dict[str, User])
    undecided: Mapping[str, User] = field(default_factory=dict[str, User])
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])
    roles: Mapping[str, Role] = field(default_factory=dict[str, Role])
    templates: Mapping[str, UserClaims] = field(default_factory=dict[str, UserClaims])
    offers: Mapping[str, list[Offer]] = field(default_factory=dict[str, list[Offer]])
    uses: Mapping[str, list[Use]] = field(default_factory=dict[str, list[Use]])
    defaults: Defaults = USUAL
    focus: frozenset[str] | None = None

    def looks_at(self, account: str) -> bool:
        return self.focus is None or account in self.focus

    def knows_user(self, id: str) -> bool:
        return id in self.users or id in self.suspended or id in self.undecided


def of(table: Table, entries: Entries, defaults: Defaults = USUAL) -> Desired:
    accounts = {account.id: effective(account, entries) for account in map(to_account, table.accounts)}
    roles, bad_roles = sift(table.roles, to_role)
    bad_roles |= {id: faults[0] for id, role in roles.items() if (faults := role_faults(role, defaults))}
    roles = {id: role for id, role in roles.items() if id not in bad_roles}
    refused = {("nats_roles", id): reason for id, reason in bad_roles.items()}
    refused |= {("nats_accounts", account.id): account.fault for account in accounts.values() if account.fault}
    offers, uses = shared(table, accounts, entries, refused)
    found = Desired(
        accounts,
        refused=refused,
        roles=roles,
        templates={id: claims_of(role, NOTHING, defaults) for id, role in roles.items()},
        offers=offers,
        uses=uses,
        defaults=defaults,
        focus=table.focus,
    )
    return with_users(found, map(to_user, table.users), entries, defaults)


def with_users(found: Desired, users: Iterable[User], entries: Entries, defaults: Defaults) -> Desired:
    wanted: dict[str, WantedUser] = {}
    suspended: dict[str, User] = {}
    undecided: dict[str, User] = {}
    refused = dict(found.refused)
    for user in users:
        if not user.active or is_suspended("user", user.id, entries):
            suspended[user.id] = user
        elif reason := user.fault or why_not(user, found):
            undecided[user.id] = user
            refused["nats_users", user.id] = reason
        elif reason := unfit(one := with_role(user, found, defaults), found):
            suspended[user.id] = user
            refused["nats_users", user.id] = reason
        else:
            wanted[user.id] = one
    return replace(found, users=wanted, suspended=suspended, undecided=undecided, refused=refused)


def is_suspended(kind: Kind, id: str, entries: Entries) -> bool:
    entry = entries.get(kind, id)
    return entry is not None and entry.suspended


def effective(account: Account, entries: Entries) -> Account:
    return replace(account, active=False) if is_suspended("account", account.id, entries) else account


def role_faults(role: Role, defaults: Defaults) -> list[str]:
    return user_faults(claims_of(role, NOTHING, defaults), templates=True)


def why_not(user: User, found: Desired) -> str:
    if user.account not in found.accounts:
        return "account_id names no account" if user.account else "account_id is empty"
    if reason := found.refused.get(("nats_roles", user.role)):
        return f"its role is refused: {reason}"
    if user.role not in found.roles:
        return "role_id names no role" if user.role else "role_id is empty"
    return ""


def with_role(user: User, found: Desired, defaults: Defaults) -> WantedUser:
    """A bearer token is an override too: servers allow nothing of the kind beside a scoped key."""
    own = None
    if user.bearer or user.permissions != NOTHING:
        own = replace(claims_of(found.roles[user.role], user.permissions, defaults), bearer_token=user.bearer)
    return WantedUser(user.id, user.name, user.account, user.role, own, user.expires_at)


def unfit(user: WantedUser, found: Desired) -> str:
    """Why its rights, in which its name may stand, cannot be given to this very user; or nothing.

    A server puts any name into a template, wildcards too, and does so for tokens it has long known.
    """
    faults = user_faults(user.own, templates=True) if user.own else []
    claims = user.own or found.templates[user.role]
    values = TemplateValues(user.name, ANY_USER, found.accounts[user.account].name, ANY_ACCOUNT)
    return next(iter([*faults, *template_faults(claims.permissions, values)]), "")


def claims_of(role: Role, own: Permissions, defaults: Defaults) -> UserClaims:
    return UserClaims(merged(role.permissions, own, defaults), role.limits)


def shared(
    table: Table, accounts: Mapping[str, Account], entries: Entries, refused: dict[tuple[str, str], str]
) -> tuple[dict[str, list[Offer]], dict[str, list[Use]]]:
    """Exports and imports by account; those that cannot be read are added to `refused`."""
    good_offers, bad_offers = sift(table.exports, to_offer)
    good_uses, bad_uses = sift(table.imports, to_use)
    refused |= {("nats_account_exports", id): reason for id, reason in bad_offers.items()}
    refused |= {("nats_account_imports", id): reason for id, reason in bad_uses.items()}
    offers: dict[str, list[Offer]] = {}
    uses: dict[str, list[Use]] = {}
    for offer in good_offers.values():
        if offer.account in accounts or entries.get("account", offer.account):
            offers.setdefault(offer.account, []).append(offer)
        else:
            refused["nats_account_exports", offer.id] = "account_id names no account"
    for use in good_uses.values():
        if use.account in accounts:
            uses.setdefault(use.account, []).append(with_exporter(use, entries))
        else:
            refused["nats_account_imports", use.id] = "account_id names no account"
    return offers, uses


def with_exporter(use: Use, entries: Entries) -> Use:
    exporter = entries.get("account", use.imported.account)
    return replace(use, imported=replace(use.imported, account=exporter.public_key)) if exporter else use
