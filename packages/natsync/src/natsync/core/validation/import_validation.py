"""Is an import fit to be signed, alone, beside the others, and against what is known of the exporter?

Sources: nats-io/jwt v2 (`imports.go`, and `RenamingSubject` in `types.go`), nats-server (`accounts.go`, activation).
Faults the servers' own check lets through are found as well: a malformed or unknown exporter, oneself, a token that
the exporter's keys did not sign.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from natsync.core.claims.account_claims import AccountClaims, Import, public_key
from natsync.core.claims.keys import KeyKind, is_public_key
from natsync.core.claims.token_codec import BadToken, Claims, read_as
from natsync.core.validation.export_validation import MAX_NAME_CHARACTERS
from natsync.core.validation.subject_grammar import FULL_WILDCARD, collide, covers, subject_fault

MAX_IMPORTS = 500
_REFERENCE = re.compile(r"\$(\d{1,4})", re.ASCII)

Accounts = Mapping[str, AccountClaims]


def faults_of_imports(
    imports: Sequence[Import], *, account: str, accounts: Accounts | None
) -> Iterator[tuple[int, str]]:
    """Each with the position of the import at fault."""
    sound: list[Import] = []
    for index, imported in enumerate(imports):
        if index >= MAX_IMPORTS:
            faults = [f"there are more than {MAX_IMPORTS} imports"]
        else:
            faults = [*import_faults(imported), *exporter_faults(imported, account, accounts)]
        faults = faults or [*token_faults(imported, account, accounts), *collisions(imported, sound)]
        if not faults:
            sound.append(imported)
        yield from ((index, fault) for fault in faults)


def import_faults(imported: Import) -> Iterator[str]:
    if imported.kind not in ("stream", "service"):
        yield f"type: {str(imported.kind)[:20]!r} is neither stream nor service"
    if imported.kind != "service" and imported.share:
        yield "share is for services only"
    if imported.kind != "stream" and imported.allow_trace:
        yield "allow_trace is for streams only"
    if len(imported.name) > MAX_NAME_CHARACTERS:
        yield "name is too long"
    if fault := subject_fault(imported.subject):
        yield f"subject: {imported.subject[:100]!r} {fault}"
    elif imported.local_subject:
        yield from renaming_faults(imported.local_subject, imported.subject)


def renaming_faults(local: str, subject: str) -> Iterator[str]:
    """The local subject ends as the other does, and has each of its `*` once, by itself or as `$1`, `$2`, …"""
    if fault := subject_fault(local):
        yield f"local_subject: {local[:100]!r} {fault}"
        return
    tokens, wildcards = local.split("."), subject.split(".").count("*")
    if (tokens[-1] == FULL_WILDCARD) != (subject.split(".")[-1] == FULL_WILDCARD):
        yield f"local_subject: {local[:100]!r} and {subject[:100]!r} must both end in '>', or neither"
    references = [int(match[1]) for token in tokens if (match := _REFERENCE.fullmatch(token))]
    if any(not 1 <= reference <= wildcards for reference in references):
        yield f"local_subject: {local[:100]!r} refers to a '*' that {subject[:100]!r} does not have"
    elif len(references) + tokens.count("*") != wildcards:
        yield f"local_subject: {local[:100]!r} does not take up every '*' of {subject[:100]!r}"


def exporter_faults(imported: Import, account: str, accounts: Accounts | None) -> Iterator[str]:
    if not is_public_key(imported.account, KeyKind.ACCOUNT):
        yield "account: the exporter is no account"
    elif imported.account == account:
        yield "account: an account does not import from itself"
    elif accounts is not None and imported.account not in accounts:
        yield "account: the exporter is not among the operator's accounts"


def token_faults(imported: Import, account: str, accounts: Accounts | None) -> Iterator[str]:
    if not imported.token:
        return
    try:
        claims = read_as("activation", imported.token)
    except BadToken as error:
        yield f"token: {error}"
        return
    body = claims["nats"]
    granted = body.get("subject")
    if claims.get("sub") != account:
        yield "token: it was made for another account"
    if body.get("kind") != imported.kind:
        yield "token: it was made for the other type of export"
    if not isinstance(granted, str) or subject_fault(granted) or not covers(granted, imported.subject):
        yield "token: it was made for another subject"
    if not did_sign(imported.account, claims, accounts):
        yield "token: the exporter did not sign it"


def did_sign(exporter: str, claims: Claims, accounts: Accounts | None) -> bool:
    """By its identity key, or by a signing key it is known to have."""
    issuer = claims["iss"]
    if issuer == exporter or claims["nats"].get("issuer_account") != exporter:
        return issuer == exporter
    keys = accounts[exporter].signing_keys if accounts and exporter in accounts else None
    return keys is None or issuer in {public_key(key) for key in keys}


def collisions(imported: Import, others: Iterable[Import]) -> Iterator[str]:
    """Services of one exporter must not overlap here; a stream is not imported twice under one subject."""
    here = local_subject(imported)
    for other in others:
        if (other.kind, other.account) != (imported.kind, imported.account):
            continue
        there = local_subject(other)
        if collide(here, there) if imported.kind == "service" else (imported.subject, here) == (other.subject, there):
            yield f"{here[:100]!r} is imported from that account already, as {there[:100]!r}"
            return


def local_subject(imported: Import) -> str:
    """What the subject is called in the importing account, references read as `*`."""
    return ".".join("*" if _REFERENCE.fullmatch(token) else token for token in given(imported).split("."))


def given(imported: Import) -> str:
    return imported.local_subject or imported.subject
