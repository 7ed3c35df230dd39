"""What Prometheus is told of the bus. Labels come from fixed lists: never a subject, an id or a text."""

from prometheus_client import Counter, Gauge, Histogram

from common.core.errors import ServiceError
from common.core.failures import KNOWN

# Prometheus' own registry is one a process, so its metrics are too.
OPERATIONS = Counter("bus_operations", "Calls on the bus, by kind and outcome.", ("operation", "outcome"))
ANSWER_SECONDS = Histogram("bus_request_seconds", "From a request to its answer.", ("operation",))
REFUSED = Counter("bus_messages_refused", "Messages that could not be read.", ("reason",))
GAPS = Counter("bus_gaps", "Times at which a listener may have missed messages.", ("reason",))
CONNECTED = Gauge("bus_connected", "1 while the connection to NATS stands.")
LOSSES = Counter("bus_connection_losses", "Connections to NATS that were lost.")
LEASES = Counter("leases", "What became of leases that were held or wanted.", ("outcome",))


class Tally:
    """Counts one kind of call."""

    def __init__(self, operation: str) -> None:
        self._operation = operation
        self.done = OPERATIONS.labels(operation, "ok").inc

    def failed(self, error: BaseException) -> None:
        OPERATIONS.labels(self._operation, outcome_of(error)).inc()


def outcome_of(error: BaseException) -> str:
    if isinstance(error, ServiceError):
        return error.code if error.code in KNOWN else "other"
    return "cancelled" if not isinstance(error, Exception) else "internal"
