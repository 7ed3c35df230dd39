"""Prometheus metrics that stay few, whatever clients send: of each label only so many values are told apart."""

import asyncio
import time
from collections import deque
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.serving.route_template import route_template

OTHER = "other"
NO_ROUTE = "none"
MAX_VALUES = 100
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

LAG_INTERVAL_SECONDS = 0.25
LAG_WINDOW_SECONDS = 15.0


class BoundedLabel:
    """Values of one label: those listed, and of others the first `max_values`; every further one is `other`."""

    def __init__(self, listed: Iterable[str] = (), *, max_values: int = MAX_VALUES) -> None:
        self._known = set(listed)
        self._room = max_values

    def value(self, given: str) -> str:
        if given in self._known:
            return given
        if self._room <= 0:
            return OTHER
        self._room -= 1
        self._known.add(given)
        return given


def status_class(status: int) -> str:
    """`2xx` for 200, and `none` for a request that got no answer (0)."""
    return f"{status // 100}xx" if 100 <= status < 600 else "none"


class RequestMetrics:
    """Counts and times HTTP requests by route template, method and class of status, as plain ASGI middleware.

    `http_requests_total{route,method,status}`, `http_request_seconds{route,method}` until the answer's end, and
    `http_requests_open`. A request that matched no route counts under the route `none`.
    """

    def __init__(self, app: ASGIApp, *, registry: CollectorRegistry = REGISTRY, max_routes: int = MAX_VALUES) -> None:
        self._app = app
        self._routes = BoundedLabel(max_values=max_routes)
        self._methods = BoundedLabel(METHODS, max_values=0)
        names = ("route", "method")
        self._total = Counter("http_requests", "Requests that have ended.", (*names, "status"), registry=registry)
        self._seconds = Histogram("http_request_seconds", "Until the end.", names, registry=registry, buckets=SECONDS)
        self._open = Gauge("http_requests_open", "Requests that have not ended.", registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def watching(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._open.inc()
        try:
            await self._app(scope, receive, watching)
        finally:
            self._open.dec()
            route, method = self._routes.value(route_template(scope) or NO_ROUTE), self._methods.value(scope["method"])
            self._total.labels(route, method, status_class(status)).inc()
            self._seconds.labels(route, method).observe(time.perf_counter() - begun)


class LoopLag:
    """How long the event loop keeps ready work waiting: `event_loop_lag_seconds`, the worst of the last 15 s.

    Run `run` with `common.serving.background.running`.
    """

    def __init__(self, *, registry: CollectorRegistry = REGISTRY) -> None:
        gauge = Gauge("event_loop_lag_seconds", "Worst delay of ready work in the last 15 s.", registry=registry)
        self._recent: deque[float] = deque(maxlen=int(LAG_WINDOW_SECONDS / LAG_INTERVAL_SECONDS))
        gauge.set_function(self.worst_seconds)

    def worst_seconds(self) -> float:
        return max(self._recent, default=0.0)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_SECONDS
            await asyncio.sleep(LAG_INTERVAL_SECONDS)
            self._recent.append(max(0.0, loop.time() - due))
