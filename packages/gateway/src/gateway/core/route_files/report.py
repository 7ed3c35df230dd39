"""The routes as the operator sees them: what is in force, what does not load, and what went wrong lately."""

from collections.abc import Iterable
from typing import Any

from gateway.core.route_files.route_set import RouteSet
from gateway.core.rule_files.journal import Failure
from gateway.core.rule_files.report import shown_failure, shown_fault


def report(routes: RouteSet, failures: Iterable[Failure], granted: frozenset[str]) -> dict[str, Any]:
    """Shape: `{"routes": [{"path", "file", "methods", "as_service"}], "faults", "failures"}`."""
    return {
        "routes": [
            {
                "path": route.pattern.template,
                "file": route.file,
                "methods": list(route.endpoints),
                "as_service": route.pattern.template in granted,
            }
            for route in routes.routes
        ],
        "faults": [shown_fault(fault) for fault in routes.faults],
        "failures": [shown_failure(failure) for failure in failures],
    }
