"""Is a user, or what a scoped key says for its users, fit to be signed?

Sources: nats-io/jwt v2 (`types.go`), nats-server (`auth.go`: a fault found at connect turns the user away).
"""

import ipaddress
import re
from collections.abc import Iterator, Sequence

from natsync.core.claims.user_claims import NANOSECONDS, Permissions, ResponsePermission, TimeRange, UserClaims
from natsync.core.validation.subject_grammar import has_template, subject_fault

CONNECTION_TYPES = frozenset({"STANDARD", "WEBSOCKET", "LEAFNODE", "LEAFNODE_WS", "MQTT", "MQTT_WS", "IN_PROCESS"})
MAX_SUBJECTS = 500
MAX_RESTRICTIONS = 100
_CLOCK = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d", re.ASCII)
_LOCATION = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}")
_LARGEST = 2**63 - 1  # servers count in signed 64 bits


def user_faults(claims: UserClaims, *, templates: bool = False) -> list[str]:
    """Why this cannot be signed, or nothing. Only a scoped key's subjects may have templates. Never raises."""
    limits = claims.limits
    return [
        *permission_faults(claims.permissions, templates=templates),
        *limit_faults({"subs": limits.subscriptions, "data": limits.data, "payload": limits.payload}),
        *(fault for each in claims.source_networks[:MAX_RESTRICTIONS] for fault in network_faults(each)),
        *(fault for each in claims.times[:MAX_RESTRICTIONS] for fault in time_faults(each)),
        *restriction_faults(claims),
    ]


def permission_faults(permissions: Permissions, *, templates: bool = False) -> Iterator[str]:
    sides = (
        ("publish", permissions.publish, False),
        ("publish_deny", permissions.publish_deny, False),
        ("subscribe", permissions.subscribe, True),
        ("subscribe_deny", permissions.subscribe_deny, True),
    )
    for side, subjects, queues in sides:
        if len(subjects) > MAX_SUBJECTS:
            yield f"{side} names more than {MAX_SUBJECTS} subjects"
        for subject in subjects[:MAX_SUBJECTS]:
            if fault := subject_fault(subject, queues=queues, templates=templates):
                yield f"{side}: {subject[:100]!r} {fault}"
        if queues and is_mixed(subjects):
            yield f"{side}: beside a template servers drop every subject with a queue group"
    yield from response_faults(permissions.response)


def is_mixed(subjects: Sequence[str]) -> bool:
    return any(map(has_template, subjects)) and any(" " in subject for subject in subjects)


def response_faults(response: ResponsePermission | None) -> list[str]:
    if response is None:
        return []
    fits = abs(response.max_messages) <= _LARGEST and abs(response.seconds) <= _LARGEST // NANOSECONDS
    return [] if fits else ["the response permission's number or time is beyond what servers count"]


def limit_faults(limits: dict[str, int]) -> list[str]:
    return [f"{name} is neither -1, 0 nor a number" for name, value in limits.items() if not -1 <= value <= _LARGEST]


def network_faults(network: str) -> list[str]:
    address, slash, bits = network.partition("/")
    try:
        ipaddress.ip_network(network, strict=False)
    except ValueError:
        slash = ""
    if slash and bits.isascii() and bits.isdigit() and "%" not in address:
        return []
    return [f"src: {network[:100]!r} is no CIDR network"]


def time_faults(times: TimeRange) -> list[str]:
    if _CLOCK.fullmatch(times.start) and _CLOCK.fullmatch(times.end):
        return []
    return [f"times: {times.start[:20]!r} to {times.end[:20]!r} is no range of HH:MM:SS"]


def restriction_faults(claims: UserClaims) -> Iterator[str]:
    if max(len(claims.source_networks), len(claims.times), len(claims.connection_types)) > MAX_RESTRICTIONS:
        yield f"more than {MAX_RESTRICTIONS} networks, times or connection types"
    if claims.times_location and not _LOCATION.fullmatch(claims.times_location):
        yield f"times_location: {claims.times_location[:100]!r} is no time zone"
    if unknown := [each for each in claims.connection_types if each not in CONNECTION_TYPES]:
        yield f"allowed_connection_types: {unknown[0][:100]!r} is none of {', '.join(sorted(CONNECTION_TYPES))}"
