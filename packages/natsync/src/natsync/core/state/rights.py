"""What a user may do in the end: its role and its own lists together, and whether that is less than before."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from natsync.core.claims.token_codec import Body
from natsync.core.claims.user_claims import Permissions
from natsync.core.state.built_in import CalloutTerms
from natsync.core.validation.permissions import DEFAULT_PUBLISH, DEFAULT_SUBSCRIBE

EVERYTHING = [">"]
NO_SIDE: Mapping[str, Any] = {}
CALLOUT_ON = CalloutTerms()


@dataclass(frozen=True, slots=True)
class Defaults:
    """What counts where no row says anything. `expiry_seconds` 0: tokens do not expire."""

    publish: tuple[str, ...] = DEFAULT_PUBLISH
    subscribe: tuple[str, ...] = DEFAULT_SUBSCRIBE
    expiry_seconds: int = 0
    callout: CalloutTerms = CALLOUT_ON


def merged(role: Permissions, own: Permissions, defaults: Defaults) -> Permissions:
    """Allowed is what either allows, denied what either denies."""
    return Permissions(
        publish=union(role.publish, own.publish) or defaults.publish,
        subscribe=union(role.subscribe, own.subscribe) or defaults.subscribe,
        publish_deny=union(role.publish_deny, own.publish_deny),
        subscribe_deny=union(role.subscribe_deny, own.subscribe_deny),
        response=role.response,
    )


def union(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*one, *other)))


def exceeds(before: Body, after: Body) -> bool:
    """May the bearer of `before` do anything that `after` does not spell out as well?

    Compared as text: a subject that only a wider one now covers counts as taken away, which costs a reconnection
    and no safety.
    """
    return (
        any(exceeds_on(before.get(side, NO_SIDE), after.get(side, NO_SIDE)) for side in ("pub", "sub"))
        or any(is_less(after.get(limit, 0), before.get(limit, 0)) for limit in ("subs", "data", "payload"))
        or answers_more(before.get("resp"), after.get("resp"))
        or (before.get("bearer_token", False) and not after.get("bearer_token", False))
        or any(after.get(name) != before.get(name) for name in ("src", "times", "allowed_connection_types"))
    )


def exceeds_on(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    lost = set(before.get("allow") or EVERYTHING) - set(after.get("allow") or EVERYTHING)
    return bool(lost) or bool(set(after.get("deny", ())) - set(before.get("deny", ())))


def answers_more(before: object, after: object) -> bool:
    if not isinstance(before, dict):
        return False
    if not isinstance(after, dict):
        return True
    then, now = cast(Mapping[str, int], before), cast(Mapping[str, int], after)
    return any(is_less(now.get(name, 0), then.get(name, 0)) for name in ("max", "ttl"))


def is_less(now: int, before: int) -> bool:
    """Below 0 is without limit."""
    return not (now < 0 or now == before or 0 <= before < now)
