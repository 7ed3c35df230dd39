"""Asks the configured classifier over HTTP how bad a text is."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import httpx

from common.core.errors import UpstreamUnavailable
from gateway.core.bodies.json_values import NotJson, decoded
from gateway.core.rule_files.moderation import ModerationTerms, UnreadableScore, score_of

MAX_ANSWER_BYTES = 256 * 1024

AWAY = "The classifier does not answer."


class HttpClassifier:
    def __init__(self, client: httpx.AsyncClient, terms: ModerationTerms) -> None:
        self._client = client
        self._terms = terms

    async def score(self, text: str) -> float:
        """Raises UpstreamUnavailable for whatever is no score: no answer, another status, nothing readable."""
        try:
            return score_of(decoded(await self._asked(text)), self._terms)
        except (httpx.HTTPError, httpx.InvalidURL, UnicodeError, NotJson, UnreadableScore) as error:
            raise UpstreamUnavailable(AWAY) from error

    async def _asked(self, text: str) -> bytes:
        body = {self._terms.text_key: text}
        async with self._client.stream("POST", self._terms.url, json=body) as answer:
            answer.raise_for_status()
            return await bounded(answer)


async def bounded(answer: httpx.Response) -> bytes:
    """Raises UnreadableScore for what is too large, or packed: a small answer must not become a large one here."""
    if answer.headers.get("content-encoding", "identity") != "identity":
        raise UnreadableScore("packed answer")
    body = bytearray()
    async for chunk in answer.aiter_raw():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise UnreadableScore("overlong answer")
    return bytes(body)


@asynccontextmanager
async def open_http_classifier(terms: ModerationTerms) -> AsyncGenerator[HttpClassifier | None]:
    """None when moderation is off."""
    if not terms.is_on:
        yield None
        return
    headers = {"Accept-Encoding": "identity"}
    if terms.authorization:
        headers["Authorization"] = terms.authorization
    limits = httpx.Limits(max_connections=terms.max_calls)
    async with httpx.AsyncClient(
        headers=headers, timeout=terms.deadline_seconds, limits=limits, follow_redirects=False, trust_env=False
    ) as client:
        yield HttpClassifier(client, terms)
