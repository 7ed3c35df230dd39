"""Imports that come round: what is imported here was imported there, and so on, from here.

Source: nats-server (`accounts.go`), which finds such a ring when it loads the accounts and silently leaves out the
link it came to last, hence not the same one on every server.
"""

from collections.abc import Iterator, Mapping

from natsync.core.claims.account_claims import AccountClaims, Import
from natsync.core.validation.import_validation import local_subject
from natsync.core.validation.subject_grammar import overlap

MAX_LINKS = 1000


def comes_round(imported: Import, *, account: str, accounts: Mapping[str, AccountClaims]) -> bool:
    """Beyond so many links the answer is no."""
    here, seen = local_subject(imported), set[tuple[str, str]]()
    ahead = [(imported.account, imported.subject)]
    while ahead and len(seen) < MAX_LINKS:
        place = ahead.pop()
        if place[0] == account and overlap(place[1], here):
            return True
        if place not in seen:
            seen.add(place)
            ahead += links(place, imported, accounts)
    return False


def links(place: tuple[str, str], imported: Import, accounts: Mapping[str, AccountClaims]) -> Iterator[tuple[str, str]]:
    """Where the account itself has the subject from."""
    account, subject = place
    for each in accounts[account].imports if account in accounts else ():
        if each.kind == imported.kind and overlap(local_subject(each), subject):
            yield each.account, each.subject
