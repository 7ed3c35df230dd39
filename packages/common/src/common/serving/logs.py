"""One log format for every service: JSON lines on standard output, without secrets."""

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(r"token|secret|seed|password|authorization|cookie|creds|private|api_?key", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"eyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){1,2}"  # JSON Web Tokens
    r"|\bS[AOUNCX][A-Z2-7]{40,}"  # NATS seeds
    r"|(?<=token=)[^&\s\"']+"
    r"|(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"  # user and password of a URL
)


def configure(service: str, *, level: str = "INFO", console: bool = False) -> None:
    """Send structlog and standard logging alike through one pipeline."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("uvicorn.access", "httpx", "httpcore"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # they print URLs, queries and all
    structlog.contextvars.bind_contextvars(service=service)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace values whose name or shape says that they are secret, at any depth."""
    return {name: redacted(name, value) for name, value in event.items()}


def redacted(name: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        items = cast(Mapping[object, Any], value).items()
        return {key: redacted(str(key), item) for key, item in items}
    if _SECRET_NAME.search(name) and value not in (None, "", True, False):
        return REDACTED
    if isinstance(value, list | tuple | set | frozenset):
        return [redacted("", item) for item in cast(list[Any], value)]
    if isinstance(value, str):
        return _SECRET_TEXT.sub(REDACTED, value)
    return value
