"""Templates in a role's subjects: filled in by servers for users of a scoped key, here for users with tokens of
their own, and guarded in both cases.

Source: nats-server (`auth.go`, `processUserPermissionsTemplate`), and what 2.15 was seen to do: it puts in whatever
the user's name or tag says, so a user named `>` gets `orders.>` out of `orders.{{name()}}`.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, product

from natsync.core.claims.user_claims import Permissions
from natsync.core.validation.subject_grammar import FULL_WILDCARD, TEMPLATE, is_literal_token
from natsync.core.validation.user_validation import MAX_SUBJECTS


class TemplateUnfit(ValueError):
    """The user has nothing, or nothing fit, to put into a template; the message says which."""


@dataclass(frozen=True, slots=True)
class TemplateValues:
    """What templates are filled from: a user, its account's name and public key, and the tags (`key:value`) of both."""

    name: str
    subject: str
    account_name: str = ""
    account: str = ""
    tags: tuple[str, ...] = ()
    account_tags: tuple[str, ...] = ()

    def of(self, template: re.Match[str]) -> tuple[str, ...]:
        """No value, one, or for a tag several."""
        operation, key = template[1] or template[2], (template[3] or "").lower()
        if key:
            tags = self.tags if operation == "tag" else self.account_tags
            return tuple(tag.removeprefix(f"{key}:") for tag in tags if tag.startswith(f"{key}:"))
        values = {
            "name": self.name,
            "subject": self.subject,
            "account-name": self.account_name,
            "account-subject": self.account,
        }
        return (values[operation],)


def template_faults(permissions: Permissions, values: TemplateValues) -> list[str]:
    """Why this user must not be signed by a scoped key with these permissions, or nothing.

    Everything put into a subject has to be one token that stands for itself; and what is denied has to be known.
    """
    unfit = (
        f"{template[0]} is not one plain token for this user"
        for template in templates_of(every_subject(permissions))
        if not all(map(is_literal_token, values.of(template)))
    )
    denied = (*permissions.publish_deny, *permissions.subscribe_deny)
    unknown = (
        f"{template[0]} is denied, and this user has no such tag: servers turn it away"
        for template in templates_of(denied)
        if not values.of(template)
    )
    return list(dict.fromkeys([*unfit, *unknown]))


def expanded(permissions: Permissions, values: TemplateValues) -> Permissions:
    """The permissions with templates filled in, as a server does: what is allowed and has no value is left out, and
    where that leaves nothing, everything is denied. Raises TemplateUnfit for what `template_faults` finds.
    """
    if faults := template_faults(permissions, values):
        raise TemplateUnfit(faults[0])
    publish, subscribe = filled(permissions.publish, values), filled(permissions.subscribe, values)
    return Permissions(
        publish=publish,
        subscribe=subscribe,
        publish_deny=(*filled(permissions.publish_deny, values), *denial(permissions.publish, publish)),
        subscribe_deny=(*filled(permissions.subscribe_deny, values), *denial(permissions.subscribe, subscribe)),
        response=permissions.response,
    )


def filled(subjects: Iterable[str], values: TemplateValues) -> tuple[str, ...]:
    """Raises TemplateUnfit when a user's tags make it more subjects than a token may name."""
    every = (each for subject in subjects for each in combinations(subject, values))
    found = tuple(dict.fromkeys(islice(every, MAX_SUBJECTS + 1)))
    if len(found) > MAX_SUBJECTS:
        raise TemplateUnfit(f"templates make more than {MAX_SUBJECTS} subjects for this user")
    return found


def combinations(subject: str, values: TemplateValues) -> Iterator[str]:
    """One subject for each way to pick among the values of its templates; a plain subject as it is.

    A template that stands in it twice gets the same value in both places.
    """
    templates = {template[0]: values.of(template) for template in TEMPLATE.finditer(subject)}
    for picked in product(*templates.values()):
        chosen = dict(zip(templates, picked, strict=True))
        yield TEMPLATE.sub(lambda template, chosen=chosen: chosen[template[0]], subject)


def denial(asked: tuple[str, ...], left: tuple[str, ...]) -> tuple[str, ...]:
    """An empty list would allow everything."""
    return (FULL_WILDCARD,) if asked and not left else ()


def every_subject(permissions: Permissions) -> tuple[str, ...]:
    return (
        *permissions.publish,
        *permissions.subscribe,
        *permissions.publish_deny,
        *permissions.subscribe_deny,
    )


def templates_of(subjects: Iterable[str]) -> Iterator[re.Match[str]]:
    return (template for subject in subjects for template in TEMPLATE.finditer(subject))
