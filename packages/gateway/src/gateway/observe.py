"""What is told of each request: counts for Prometheus, and a log line for errors, refusals and writes, and for a sample
of the rest."""

from functools import lru_cache

import structlog
from prometheus_client import Counter, Histogram

from gateway.core.bounded_names import BoundedNames

logger = structlog.get_logger(__name__)

# Prometheus' own registry is one a process, so its metrics are too.
REQUESTS = Counter(
    "gateway_requests", "Requests by kind of route, method and status class.", ("route", "method", "status")
)
OPERATIONS = Counter(
    "gateway_operations",
    "What was asked of collections: by action, by who may share the answer, and by where that came from; the status "
    "class where nothing could be shared.",
    ("collection", "action", "shared", "outcome"),
)
SECONDS = Histogram(
    "gateway_request_seconds",
    "Time until an answer was sent, of requests that were not answered from memory at once.",
    ("route",),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)

MAX_COLLECTIONS = 100
MAX_KINDS = 1024
MAX_PATH_LENGTH = 200
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = SAFE | {"POST", "PATCH", "PUT", "DELETE"}
_collections = BoundedNames(MAX_COLLECTIONS)


class Sampling:
    """Every how many answers of a kind that is not always told one is told; 0 for none."""

    def __init__(self, every: int) -> None:
        self._every = every
        self._seen = 0

    def is_due(self) -> bool:
        self._seen += 1
        return bool(self._every) and self._seen % self._every == 0


def operations(collection: str, action: str, shared: str, outcome: str) -> Counter:
    """The counter of one kind, to be kept by whoever counts many."""
    return OPERATIONS.labels(_collections.bounded(collection), action, shared, outcome)


@lru_cache(maxsize=MAX_KINDS)
def requests(route: str, method: str, status: str) -> Counter:
    return REQUESTS.labels(route, method, status)


@lru_cache(maxsize=MAX_KINDS)
def durations(route: str) -> Histogram:
    return SECONDS.labels(route)


def tell(
    *,
    route: str,
    method: str,
    raw_path: bytes,
    status: int,
    reason: str,
    seconds: float,
    client: str,
    is_sampled: bool = False,
) -> None:
    """Never the query: it may bear tokens. Status 0 stands for a client that left before the answer."""
    known = method if method in _METHODS else "other"
    requests(route, known, f"{status // 100}xx" if status else "gone").inc()
    durations(route).observe(seconds)
    if 0 < status < 400 and known in SAFE and not is_sampled:
        return
    write = logger.error if status >= 500 else logger.info
    write(
        "request",
        method=known,
        path=raw_path[:MAX_PATH_LENGTH].decode("latin-1"),
        route=route,
        status=status,
        reason=reason,
        milliseconds=round(seconds * 1000, 1),
        client=client,
    )
