"""Who has had enough for now: users by their record, guests by their address, and whoever signs in by both."""

import hashlib

from common.core.rate_limit_decision import Decision, LimitReached
from common.core.rate_limit_rule import DEFAULT
from common.limiter import By, RateLimiter, Rules, client_network
from gateway.core.front_door.limits import ROUTES, TENANT, TOO_MANY, action_of, rule_for
from gateway.core.front_door.pocketbase_route import Route
from gateway.core.sessions.principal import Principal
from gateway.core.sessions.session import Owner


class TooMany(LimitReached):
    """Refused in PocketBase's words; `decision` says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision)
        self.args = (TOO_MANY,)


class Limits:
    def __init__(self, limiter: RateLimiter, rules: Rules) -> None:
        self._limiter = limiter
        self._names = frozenset(rule.name for rule in rules)
        self._counts_tenants = TENANT in self._names

    def rule(self, action: str, collection: str = "", endpoint: str = "") -> str:
        return rule_for(self._names, action, collection, endpoint)

    def try_use(self, rule: str, principal: Principal | None, address: str) -> bool:
        """Whether the use was counted and may go on; False leaves both to `require`. Raises TooMany."""
        if self._counts_tenants and principal and principal.tenant:
            return False
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
        await self._use_of_tenant(principal)
        action = action_of(method, route)
        rule = self.rule(action, collection, route.after[-1] if action == "auth" and route.after else "")
        if action == "auth":
            await self._use(rule, By(address=client_network(address)))
        if action != "auth" or principal is not None:
            await self._use(rule, counted_by(principal, address))

    async def require_read(self, action: str, collection: str, owner: Owner | None, address: str) -> None:
        """Count a list or a view that is read as part of something else. Raises TooMany."""
        by = By(principal=f"{owner.collection_id}/{owner.record_id}") if owner else By(address=client_network(address))
        await self._use(self.rule(action, collection), by)

    async def require_default(self, address: str) -> None:
        """Count a use of what is no part of PocketBase. Raises TooMany."""
        await self._use(DEFAULT, By(address=client_network(address)))

    async def require_route(self, path: str, principal: Principal | None, address: str) -> None:
        """Count a use of a file route, by its own rule if its path has one. Raises TooMany."""
        await self._use_of_tenant(principal)
        await self._use(path if path in self._names else ROUTES, counted_by(principal, address))

    async def identified(self, collection: str, endpoint: str, identity: str) -> None:
        """Count an attempt to come in as `identity`, from wherever it is made. Raises TooMany."""
        await self._use(self.rule("auth", collection, endpoint), By(principal=f"{collection}/{attempted(identity)}"))

    async def entered(self, collection: str, identity: str, address: str) -> None:
        """Count an attempt to come in by way of an issuer, as of any other sign-in. Raises TooMany."""
        await self._use(self.rule("auth", collection), By(address=client_network(address)))
        if identity:
            await self.identified(collection, "", identity)

    async def _use_of_tenant(self, principal: Principal | None) -> None:
        """What all users of a tenant may do together. Raises TooMany."""
        if self._counts_tenants and principal and principal.tenant:
            await self._use(TENANT, By(principal=f"tenant/{principal.tenant}"))

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
