"""Which routes there are, and which of them a request means."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

from gateway.core.route_files.route_path import Pattern, is_reserved
from gateway.core.route_files.schema_parts import NO_PARTS, Parts
from gateway.core.rule_files.rule_set import LoadFault, Place

Method: TypeAlias = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
METHODS: tuple[Method, ...] = get_args(Method)

Call: TypeAlias = Callable[[Any, Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Step:
    """One function of an operator's: a route's for one method, or the middleware of a folder."""

    name: str
    place: Place
    call: Call
    text: str = ""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of a route: the middleware of its folders from the outermost on, and the function that answers."""

    method: Method
    function: Step
    middleware: tuple[Step, ...] = ()
    parts: Parts = NO_PARTS

    @property
    def files(self) -> frozenset[str]:
        """Where a fault may lie."""
        own = (self.function, *self.middleware)
        return frozenset({*(step.place.file for step in own), *([self.parts.file] if self.parts.file else [])})


@dataclass(frozen=True, slots=True)
class Route:
    pattern: Pattern
    file: str
    endpoints: Mapping[str, Endpoint]

    @property
    def allowed(self) -> str:
        """As the header Allow lists it."""
        own = [method for method in METHODS if method in self.endpoints]
        return ", ".join([*own, *(["HEAD"] if "GET" in self.endpoints else []), "OPTIONS"])


@dataclass(frozen=True, slots=True)
class Found:
    route: Route
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class RouteSet:
    """All routes in force at one time. It never changes: another set takes its place."""

    routes: tuple[Route, ...] = ()
    faults: tuple[LoadFault, ...] = ()
    openapi: Mapping[str, Any] = field(default_factory=dict[str, Any])
    _by_length: Mapping[int, tuple[Route, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        ordered = sorted(self.routes, key=lambda route: route.pattern.order)
        lengths = {len(route.pattern.segments) for route in ordered}
        by_length = {
            length: tuple(route for route in ordered if len(route.pattern.segments) == length) for length in lengths
        }
        object.__setattr__(self, "_by_length", by_length)

    def find(self, segments: Sequence[str]) -> Found | None:
        """What is spelt out comes before parameters, and nothing stands under a reserved path."""
        wanted = () if list(segments) == [""] else tuple(segments)
        if is_reserved(wanted):
            return None
        for route in self._by_length.get(len(wanted), ()):
            params = route.pattern.match(wanted)
            if params is not None:
                return Found(route, params)
        return None


def check_apart(routes: Iterable[Route]) -> Iterable[LoadFault]:
    """A fault for each route that answers where another does."""
    seen: dict[tuple[str, ...], Route] = {}
    for route in routes:
        other = seen.setdefault(route.pattern.shape, route)
        if other is not route:
            yield LoadFault(Place(route.file, 0), f"{route.pattern.template} is answered by {other.file} already")
