"""The readiness of the platform's other parts, asked over HTTP."""

from collections.abc import Mapping
from functools import partial

import httpx

from common.core.errors import UpstreamUnavailable
from common.serving.health import Probe


def part_probes(client: httpx.AsyncClient, parts: Mapping[str, str]) -> dict[str, Probe]:
    return {name: partial(is_ready, client, url) for name, url in parts.items()}


async def is_ready(client: httpx.AsyncClient, url: str) -> None:
    try:
        answer = await client.get(url)
    except httpx.HTTPError as error:
        raise UpstreamUnavailable(f"no answer: {type(error).__name__}") from error
    if answer.status_code != 200:
        raise UpstreamUnavailable(f"answered {answer.status_code}")
