"""Is an export fit to be signed, alone and beside the others?

Source: nats-io/jwt v2 (`exports.go`), with one difference: of two that cannot stand together the later is at fault.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from natsync.core.claims.account_claims import Export, Latency
from natsync.core.claims.keys import KeyKind, is_public_key
from natsync.core.validation.subject_grammar import collide, has_wildcards, subject_fault

RESPONSE_TYPES = frozenset({"", "Singleton", "Stream", "Chunked"})
MAX_EXPORTS = 500
MAX_NAME_CHARACTERS = 1000
MAX_RESPONSE_MILLISECONDS = 2**63 // 1_000_000 - 1


def faults_of_exports(exports: Sequence[Export]) -> Iterator[tuple[int, str]]:
    """Each with the position of the export at fault."""
    sound: list[Export] = []
    for index, export in enumerate(exports):
        faults = [f"there are more than {MAX_EXPORTS} exports"] if index >= MAX_EXPORTS else export_faults(export)
        faults = faults or list(collisions(export, sound))
        if not faults:
            sound.append(export)
        yield from ((index, fault) for fault in faults)


def export_faults(export: Export) -> list[str]:
    fault = subject_fault(export.subject)
    return [
        *([f"subject: {export.subject[:100]!r} {fault}"] if fault else position_faults(export)),
        *(kind_faults(export)),
        *(["name is too long"] if len(export.name) > MAX_NAME_CHARACTERS else []),
        *(latency_faults(export.latency) if export.latency else []),
        *revocation_faults(export.revocations, KeyKind.ACCOUNT),
    ]


def kind_faults(export: Export) -> Iterator[str]:
    if export.kind not in ("stream", "service"):
        yield f"type: {str(export.kind)[:20]!r} is neither stream nor service"
    if export.kind != "service":
        for_services = {
            "response_type": bool(export.response_type),
            "response_threshold": export.response_milliseconds != 0,
            "service_latency": export.latency is not None,
            "allow_trace": export.allow_trace,
        }
        yield from (f"{name} is for services only" for name, given in for_services.items() if given)
    elif export.response_type not in RESPONSE_TYPES:
        yield f"response_type: {export.response_type[:20]!r} is none of Singleton, Stream, Chunked"
    if not 0 <= export.response_milliseconds <= MAX_RESPONSE_MILLISECONDS:
        yield "response_threshold is out of range"


def position_faults(export: Export) -> list[str]:
    position, tokens = export.account_token_position, export.subject.split(".")
    if position == 0 or (1 <= position <= len(tokens) and tokens[position - 1] == "*"):
        return []
    return [f"account_token_position: token {position} of {export.subject[:100]!r} is no '*'"]


def latency_faults(latency: Latency) -> list[str]:
    fault = subject_fault(latency.results) or ("has wildcards" if has_wildcards(latency.results) else "")
    return [
        *([f"service_latency: {latency.results[:100]!r} {fault}"] if fault else []),
        *([] if 0 <= latency.sampling <= 100 else ["service_latency: sampling is out of 0 to 100"]),
    ]


def revocation_faults(revocations: Mapping[str, int], kind: KeyKind) -> list[str]:
    """A revocation names a key of this kind, or `*` for all; a server takes anything, and cuts nobody off for it."""
    unfit = [key for key, cutoff in revocations.items() if not (key == "*" or is_public_key(key, kind)) or cutoff < 0]
    return [f"revocations: {unfit[0][:60]!r} is no {kind.name.lower()} key with a time"] if unfit else []


def collisions(export: Export, others: Iterable[Export]) -> Iterator[str]:
    for other in others:
        if other.kind == export.kind and collide(export.subject, other.subject):
            yield f"subject: {export.subject[:100]!r} is exported already, by {other.subject[:100]!r}"
            return
