"""What a client's topics come to for one caller, remembered for as long as the rules hold: many ask for the same."""

from collections.abc import Iterable
from dataclasses import dataclass

from gateway.core.caching.read_plan import Plans
from gateway.core.collections.catalogue import Collection
from gateway.core.realtime.audience import Audience, View, audience_of
from gateway.core.realtime.subscription import Subscription

MAX_REMEMBERED = 4096


@dataclass(frozen=True, slots=True)
class Wanted:
    """`views` are decided here, `asked` are for PocketBase, `own` are about the client himself."""

    views: list[tuple[Subscription, View]]
    asked: list[str]
    own: frozenset[str]


class Wishes:
    def __init__(self) -> None:
        self._plans: Plans | None = None
        self._imageless: frozenset[str] = frozenset()
        self._known: dict[tuple[str, str], Audience] = {}

    def without_images(self, collection_ids: frozenset[str]) -> bool:
        """Of those collections nothing can be decided here; whether others were said before."""
        if collection_ids == self._imageless:
            return False
        self._imageless, self._known = collection_ids, {}
        return True

    def wanted(self, subscriptions: Iterable[Subscription], plans: Plans, asker: Collection | None) -> Wanted:
        views: list[tuple[Subscription, View]] = []
        asked: list[str] = []
        own: set[str] = set()
        for subscription in subscriptions:
            if subscription.is_own:
                own.add(subscription.text)
                continue
            audience = self._audience(subscription, plans, asker)
            if isinstance(audience, View):
                views.append((subscription, audience))
            elif audience == "ask":
                asked.append(subscription.text)
        return Wanted(views, asked, frozenset(own))

    def _audience(self, subscription: Subscription, plans: Plans, asker: Collection | None) -> Audience:
        if plans is not self._plans:
            self._plans, self._known = plans, {}
        key = (subscription.text, asker.id if asker else "")
        if (found := self._known.get(key)) is None:
            if len(self._known) >= MAX_REMEMBERED:
                del self._known[next(iter(self._known))]
            found = self._known[key] = audience_of(subscription, plans, asker, self._imageless)
        return found
