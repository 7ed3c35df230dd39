"""Who has had enough for now: users by their record, guests by their address, and whoever signs in by both."""

import hashlib

from common.core.rate_limit_decision import Decision, LimitReached
from common.core.rate_limit_rule import DEFAULT
from common.limiter import By, RateLimiter, Rules, client_network
from gateway.core.front_door.limits import TOO_MANY, action_of, rule_for
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.sessions.principal import Principal


class TooMany(LimitReached):
    """Refused in PocketBase's words; `decision` says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.args = (TOO_MANY,)


class Limits:
    def __init__(self, limiter: RateLimiter, rules: Rules) -> None:
        self._limiter = limiter
        self._names = frozenset(rule.name for rule in rules)

    def rule(self, action: str, collection: str = "", endpoint: str = "") -> str:
        return rule_for(self._names, action, collection, endpoint)

    def try_use(self, rule: str, principal: Principal | None, address: str) -> bool:
        """Whether the use was counted and may go on; False leaves both to `require`. Raises TooMany."""
        decision = self._limiter.try_check(rule, counted_by(principal, address))
        if decision is None:
            return False
        if not decision.allowed:
            raise TooMany(decision)
        return True

    async def require(
        self, method: str, route: Route, collection: str, principal: Principal | None, address: str
    ) -> None:
        """Count a use. Raises TooMany."""
        action = action_of(method, route)
        rule = self.rule(action, collection, route.after[-1] if action == "auth" and route.after else "")
        if action == "auth":
            await self._use(rule, By(address=client_network(address)))
        if action != "auth" or principal is not None:
            await self._use(rule, counted_by(principal, address))

    async def require_default(self, address: str) -> None:
        """Count a use of what is no part of PocketBase. Raises TooMany."""
        await self._use(DEFAULT, By(address=client_network(address)))

    async def identified(self, collection: str, endpoint: str, identity: str) -> None:
        """Count an attempt to come in as `identity`, from wherever it is made. Raises TooMany."""
        await self._use(self.rule("auth", collection, endpoint), By(principal=f"{collection}/{attempted(identity)}"))

    async def _use(self, rule: str, by: By) -> None:
        decision = await self._limiter.check(rule, by)
        if not decision.allowed:
            raise TooMany(decision)


def attempted(identity: str) -> str:
    """Of one size, since a client may name anybody at any length; and nobody's address is left where it is counted."""
    return hashlib.blake2b(identity.casefold().encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def counted_by(principal: Principal | None, address: str) -> By:
    if principal is None:
        return By(address=client_network(address))
    return By(principal=f"{principal.collection_id}/{principal.record_id}")
