"""What is told of each request: a count for Prometheus, and a log line for errors, refusals and writes."""

import structlog
from prometheus_client import Counter

logger = structlog.get_logger(__name__)

# Prometheus' own registry is one a process, so its metrics are too.
REQUESTS = Counter(
    "gateway_requests", "Requests by kind of route, method and status class.", ("route", "method", "status")
)

MAX_PATH_LENGTH = 200
READS = frozenset({"GET", "HEAD", "OPTIONS"})
_METHODS = READS | {"POST", "PATCH", "PUT", "DELETE"}


def tell(*, route: str, method: str, raw_path: bytes, status: int, reason: str, seconds: float, client: str) -> None:
    """Never the query: it may bear tokens. Status 0 stands for a client that left before the answer."""
    known = method if method in _METHODS else "other"
    REQUESTS.labels(route, known, f"{status // 100}xx" if status else "gone").inc()
    if 0 < status < 400 and known in READS:
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
