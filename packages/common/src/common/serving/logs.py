"""One log format for every service: a JSON line, or one for a console, on standard output, without secrets."""

import json
import logging
import sys
from contextlib import suppress
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from common.core.redaction import redact_event

WEBSOCKET_LOGGER = "uvicorn.websocket"
QUIETED = ("uvicorn.access", WEBSOCKET_LOGGER, "httpx", "httpcore")
"""Libraries that log URLs, queries and all; they are heard from WARNING on."""


class Output(logging.StreamHandler[TextIO]):
    """Of a record that cannot be written it only says whose it was: the standard library would print all of it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the standard library's name
        error = sys.exc_info()[0]
        line = {"event": "a log line could not be written", "logger": record.name, "level": record.levelname.lower()}
        with suppress(Exception):
            self.stream.write(json.dumps({**line, "error": error.__name__ if error else ""}) + "\n")
            self.flush()


def configure(service: str, *, level: str = "INFO", console: bool = False) -> None:
    """Send structlog and standard logging alike through one pipeline. A logging call never raises."""
    told: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*told, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    written: list[Processor] = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redacted,
        console_lines() if console else structlog.processors.JSONRenderer(),
    ]
    handler = Output(sys.stdout)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=told, processors=written))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in QUIETED:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(service=service)


def console_lines() -> Processor:
    formatter = structlog.dev.plain_traceback
    return structlog.dev.ConsoleRenderer(colors=sys.stdout.isatty(), exception_formatter=formatter)


def redacted(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Last before the line is written, so that nothing is added after it."""
    told = redact_event(event)
    told["event"] = str(told.get("event", ""))  # a console can align nothing else
    return told
