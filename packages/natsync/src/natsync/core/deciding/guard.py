"""Against a listing that is emptied by mistake: a truncated collection, a wrong backup, a script gone wild."""

from dataclasses import dataclass

from natsync.core.state.built_in import BUILT_IN
from natsync.core.state.ledger import LOCKED, REMOVED, Entries

FEW_ACCOUNTS = 3
FEW_USERS = 20
"""So many may always go."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A pass that would do away with more accounts or users than this, or with more than `share` of them, does not."""

    accounts: int = 20
    users: int = 1000
    share: float = 0.5

    def holds_accounts(self, gone: int, known: int) -> bool:
        return gone > self.accounts or (gone > FEW_ACCOUNTS and gone > self.share * known)

    def holds_users(self, gone: int, known: int) -> bool:
        return gone > self.users or (gone > FEW_USERS and gone > self.share * known)


@dataclass(frozen=True, slots=True)
class Known:
    """How many there are in the ledger, beyond what one pass looks at."""

    accounts: int
    users: int


def known(entries: Entries) -> Known:
    living = [
        entry
        for entry in entries.of_kind("account")
        if entry.record not in BUILT_IN and entry.state not in (REMOVED, LOCKED)
    ]
    return Known(len(living), len(entries.of_kind("user")))
