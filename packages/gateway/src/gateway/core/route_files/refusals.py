"""What a route's own faults come to.

ServiceError
├── RouteFailed                    the route itself is at fault
└── UpstreamUnavailable
    ├── RouteOverdue
    └── RoutesNotLoaded
"""

from common.core.errors import ServiceError, UpstreamUnavailable
from gateway.core.rule_files.rule_set import LoadFault


class RouteFailed(ServiceError):
    """A route raised, or returned what is no answer."""

    code = "route_failed"

    def __init__(self) -> None:
        super().__init__("Something went wrong while processing your request.")


class RouteOverdue(UpstreamUnavailable):
    """A route did not answer in time."""

    code = "route_overdue"

    def __init__(self) -> None:
        super().__init__("The request could not be answered in time; please retry.")


class RoutesNotLoaded(UpstreamUnavailable):
    """A route, a middleware or a schema does not load, and nobody knows what it would have refused."""

    code = "routes_not_loaded"

    def __init__(self) -> None:
        super().__init__("The gateway's routes are not loaded; please retry later.")


class Misrouted(Exception):
    """A route did what no route may."""


class FaultyFolder(Exception):
    """The gateway does not start with routes or schemas that do not load; the message names each."""

    def __init__(self, faults: tuple[LoadFault, ...]) -> None:
        super().__init__("; ".join(f"{fault.place}: {fault.reason}" for fault in faults))
