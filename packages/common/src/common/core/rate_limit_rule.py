"""Rate limits as they are configured, and the numbers that follow from them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple, TypeAlias, cast, get_args

from common.core.errors import InvalidRequest, ServiceError

Mode: TypeAlias = Literal["auto", "exact", "counted", "leased"]
"""How uses are counted: each by itself, in runs, or in runs of which processes hold a part in advance."""

WhenAway: TypeAlias = Literal["local", "open", "closed"]
"""Who decides while the shared counters are away: this process for its share of the limit, yes, or no."""

DEFAULT = "default"
EXACT_UP_TO = 100
LEASED_FROM = 1_000
MAX_EXACT_LIMIT = 1_000
MAX_USES = 1_000_000_000
MAX_MILLISECONDS = 31 * 24 * 3_600_000
SHORTEST_LEASED_MS = 250
"""In a shorter window a lease would end before it was of use."""

LEASES_IN_A_WINDOW = 5

_NAME = re.compile(r"[A-Za-z0-9_.:/*-]{1,64}")
_FIELDS = {
    "limit": "limit",
    "every": "every_ms",
    "maxUses": "max_uses",
    "penalty": "penalty_ms",
    "whenAway": "when_away",
    "mode": "mode",
}
_SETTINGS = {attribute: setting for setting, attribute in _FIELDS.items()}


class InvalidRule(InvalidRequest):
    """A rate limit that cannot be: `rule` and `field` say where, in the words of the settings."""

    def __init__(self, rule: str, field: str, fault: str) -> None:
        super().__init__(f"Rate limit {rule!r}: {field} {fault}.")
        self.rule = rule
        self.field = field


class UnknownRule(ServiceError):
    """A limit was asked for that is not configured, and no `default` is either."""


class Terms(NamedTuple):
    """What a rule means in numbers; `common.core.rate_limit` says why these."""

    ceiling: int
    """Uses that are promised in a window."""
    capacity: int
    """Uses that may be on the books at one time, at most a twentieth more."""
    run: int
    """Uses that are remembered under one stamp."""
    every_us: int
    max_uses: int
    penalty_us: int
    refused_run: int
    """Refusals that are remembered under one stamp."""
    lease_budget: int
    """Uses that all processes together may hold in advance; 0 unless leased."""
    lease_us: int


@dataclass(frozen=True, slots=True)
class Rule:
    """At most `limit` uses in any window of `every_ms`; more than `max_uses` attempts in one earn a penalty.

    0 switches a bound off; with both off the rule limits nothing. `terms` is derived. Raises InvalidRule.
    """

    name: str
    limit: int
    every_ms: int = 60_000
    max_uses: int = 0
    penalty_ms: int = 60_000
    when_away: WhenAway = "local"
    mode: Mode = "auto"
    terms: Terms = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        validate(self)
        object.__setattr__(self, "terms", terms_of(self))

    @property
    def is_off(self) -> bool:
        return self.terms.ceiling == 0

    def share(self, nodes: int) -> "Rule":
        """What one of `nodes` processes may admit by itself: at least one use."""
        mode: Mode = "exact" if self.mode == "exact" else "auto"
        return replace(self, limit=divided(self.limit, nodes), max_uses=divided(self.max_uses, nodes), mode=mode)


def divided(bound: int, nodes: int) -> int:
    return max(1, bound // max(1, nodes)) if bound else 0


def validate(rule: Rule) -> None:
    """Raises InvalidRule."""
    if not _NAME.fullmatch(rule.name):
        raise InvalidRule(rule.name[:64], "its name", "must be 1 to 64 characters of A-Z a-z 0-9 _ . : / * -")
    bounds = {"limit": (0, MAX_USES), "every_ms": (1, MAX_MILLISECONDS), "max_uses": (0, MAX_USES)}
    for attribute, (low, high) in (*bounds.items(), ("penalty_ms", (1, MAX_MILLISECONDS))):
        value: object = getattr(rule, attribute)
        if type(value) is not int or not low <= value <= high:
            raise InvalidRule(rule.name, _SETTINGS[attribute], f"must be a whole number from {low} to {high}")
    for attribute, choices in (("when_away", get_args(WhenAway)), ("mode", get_args(Mode))):
        if getattr(rule, attribute) not in choices:
            raise InvalidRule(rule.name, _SETTINGS[attribute], f"must be one of {', '.join(choices)}")
    if rule.mode == "exact" and ceiling_of(rule) > MAX_EXACT_LIMIT:
        raise InvalidRule(rule.name, "mode", f"can be exact only up to a limit of {MAX_EXACT_LIMIT}")


def ceiling_of(rule: Rule) -> int:
    return min((bound for bound in (rule.limit, rule.max_uses) if bound), default=0)


def terms_of(rule: Rule) -> Terms:
    ceiling = ceiling_of(rule)
    run, budget = granularity(rule.mode, ceiling, rule.every_ms)
    spare = rule.max_uses - ceiling
    return Terms(
        ceiling=ceiling,
        capacity=ceiling + run - 1 + 2 * budget,
        run=run,
        every_us=rule.every_ms * 1_000,
        max_uses=rule.max_uses,
        penalty_us=rule.penalty_ms * 1_000,
        refused_run=1 if spare <= EXACT_UP_TO else spare // 20 + 1,
        lease_budget=budget,
        lease_us=rule.every_ms * 1_000 // LEASES_IN_A_WINDOW if budget else 0,
    )


def granularity(mode: Mode, ceiling: int, every_ms: int) -> tuple[int, int]:
    """Uses in a run and uses that may be leased: (run - 1) + 2 * leased is at most a twentieth of the ceiling."""
    if mode == "auto":
        mode = "exact" if ceiling <= EXACT_UP_TO else "counted" if ceiling < LEASED_FROM else "leased"
    if mode == "exact":
        return 1, 0
    if mode == "counted" or every_ms < SHORTEST_LEASED_MS:
        return ceiling // 20 + 1, 0
    return ceiling // 100 + 1, ceiling // 50


class Rules:
    """Every rule by name. A name without a rule of its own counts against `default`, together with all the others
    of its kind: names that a client makes up win it no counters of their own."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = {rule.name: rule for rule in rules}

    @classmethod
    def parse(cls, settings: object) -> "Rules":
        """From `{"name": {"limit": 10, "every": 1000, "maxUses": 50}}`, times in milliseconds; also understood:
        `penalty` (milliseconds), `whenAway`, `mode`. Raises InvalidRule."""
        if not isinstance(settings, Mapping):
            raise InvalidRule(DEFAULT, "settings", "must map the names of rules to their settings")
        return cls(parse_rule(str(name), value) for name, value in cast(Mapping[object, object], settings).items())

    def named(self, name: str) -> Rule:
        """Raises UnknownRule when there is neither that rule nor a default."""
        rule = self._rules.get(name) or self._rules.get(DEFAULT)
        if rule is None:
            raise UnknownRule(f"There is no rate limit {name!r}, and no default.")
        return rule

    def __iter__(self) -> Iterator[Rule]:
        return iter(self._rules.values())


def parse_rule(name: str, settings: object) -> Rule:
    """Raises InvalidRule."""
    if not isinstance(settings, Mapping):
        raise InvalidRule(name, "settings", "must be a mapping with limit and every")
    given = {str(key): value for key, value in cast(Mapping[object, object], settings).items()}
    if unknown := sorted(given.keys() - _FIELDS.keys()):
        raise InvalidRule(name, unknown[0][:64], f"is no setting of a rate limit; there are {', '.join(_FIELDS)}")
    if "limit" not in given:
        raise InvalidRule(name, "limit", "is missing")
    if "every" not in given and (given["limit"] != 0 or given.get("maxUses")):
        raise InvalidRule(name, "every", "is missing")
    arguments = {_FIELDS[key]: value for key, value in given.items()}
    return Rule(name, **cast(dict[str, int], arguments))  # pyright: ignore[reportArgumentType] - Rule itself validates
