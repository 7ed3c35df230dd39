"""What Prometheus is told by a service of several processes: whichever is asked asks all of them, itself included."""

from collections.abc import Iterable
from pathlib import Path

import httpx
import structlog
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from common.task_group import TaskGroup

logger = structlog.get_logger(__name__)

ANSWER_SECONDS = 2.0


class Merged(Collector):
    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = texts

    def collect(self) -> Iterable[Metric]:
        merged: dict[str, Metric] = {}
        for worker, text in sorted(self._texts.items()):
            for family in text_string_to_metric_families(text):
                known = merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
                for sample in family.samples:
                    known.samples.append(sample._replace(labels={**sample.labels, "worker": worker}))
        return merged.values()


async def metrics_of_all(directory: Path) -> bytes:
    """Every worker's, each under the label `worker`; of one that does not answer there is nothing."""
    texts: dict[str, str] = {}

    async def ask(own_socket: Path) -> None:
        transport = httpx.AsyncHTTPTransport(uds=str(own_socket))
        try:
            async with httpx.AsyncClient(transport=transport, timeout=ANSWER_SECONDS) as client:
                texts[own_socket.stem] = (await client.get("http://worker/metrics")).text
        except httpx.HTTPError as error:
            logger.warning("a worker tells no metrics", worker=own_socket.stem, error=type(error).__name__)

    async with TaskGroup() as tasks:
        for own_socket in directory.glob("*.sock"):  # noqa: ASYNC240 - a handful of names
            tasks.create_task(ask(own_socket))
    registry = CollectorRegistry()
    registry.register(Merged(texts))
    return generate_latest(registry)
