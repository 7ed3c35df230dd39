"""What a service's process writes: one line for each call, in one format, without secrets, whatever it is given."""

import json
import subprocess
import sys
from typing import Any

import pytest

from common.core.tokens import SigningKey

TOKEN = SigningKey(b"\x01" * 32).sign({"sub": "ann"})
SEED = "SUAHLY4WWWPD3ZPUJ5PQ7S5Y2Z2TF4SPOXN7DSP7JSDWT2SHVVTTTEHX7M"

PRELUDE = f"""
import asyncio, logging, sys
import structlog
from common.serving.logs import configure
TOKEN, SEED = {TOKEN!r}, {SEED!r}
logger = structlog.get_logger("part")
plain = logging.getLogger("library")
"""


def written(script: str, **options: Any) -> str:
    """Standard output and error of a process that logs; both are what an operator would keep."""
    given = ", ".join(f"{name}={value!r}" for name, value in {"service": "sample", **options}.items())
    code = f"{PRELUDE}\nconfigure({given})\n{script}\nprint('the end')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.endswith("the end\n"), done.stderr
    return done.stdout.removesuffix("the end\n") + done.stderr


def lines(script: str, **options: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in written(script, **options).splitlines()]


def test_a_line_says_who_what_when_and_for_which_request() -> None:
    script = """
structlog.contextvars.bind_contextvars(request_id="abc")
logger.info("done", count=3)
plain.warning("%s of %d", "some", 7)
plain.debug("not heard")
"""
    mine, theirs = lines(script)
    assert mine.items() >= {"event": "done", "count": 3, "level": "info", "logger": "part", "request_id": "abc"}.items()
    assert mine["service"] == "sample"
    assert mine["timestamp"].endswith("Z")
    assert (
        theirs.items() >= {"event": "some of 7", "level": "warning", "logger": "library", "request_id": "abc"}.items()
    )


def test_secrets_reach_neither_structlog_s_lines_nor_the_standard_library_s() -> None:
    script = """
logger.info(f"with {TOKEN}", seed=SEED, nested=[{"Authorization": "Bearer x y"}], raw=SEED.encode())
plain.error("with %s and %r", TOKEN, {"password": "hunter2"})
logging.getLogger("uvicorn.error").info("GET /ws?token=hunter2")
logging.getLogger("nats.aio.client").error("nats: %s", "nats://ann:hunter2@host")
logging.getLogger("asyncpg").warning("postgresql://ann:hunter2@host/db")
try:
    password = "hunter2"
    raise ValueError(f"password={password} {TOKEN}")
except ValueError:
    logger.exception("failed")
    plain.exception("failed too")
"""
    said = written(script)
    assert len(said.splitlines()) == 7
    for secret in (TOKEN[-40:], SEED[-20:], "hunter2", "x y"):
        assert secret not in said
    assert "Traceback" in said


@pytest.mark.parametrize("console", [False, True])
def test_a_logging_call_never_raises_and_never_spills_what_it_was_given(console: bool) -> None:
    script = """
class Odd:
    def __repr__(self): raise RuntimeError(TOKEN)
    __str__ = __repr__
loop = [TOKEN]
loop.append(loop)
plain.info("%d", TOKEN)
plain.info("%s %s", TOKEN)
plain.info(Odd())
plain.info("%s", Odd())
logger.info("odd", odd=Odd(), loop=loop, huge=10**10000, text="x" * 10**7, surrogate="\\ud800", nan=float("nan"))
logger.info("%d", "positional")
logger.info(Odd())
logger.info(None, **{"event_dict_key": object(), "": 1})
logger.error("no exception", exc_info=True)
logger.error("odd exception", exc_info=Odd())
"""
    said = written(script, console=console)
    assert TOKEN[-40:] not in said
    assert len(said) < 400_000
    assert said.count("a log line could not be written") == 4
    assert "Traceback" not in said


def test_a_console_gets_lines_for_people() -> None:
    script = """
logger.info("done", count=3)
try:
    raise ValueError("oh")
except ValueError:
    logger.exception("failed")
"""
    said = written(script, console=True)
    assert "done" in said
    assert "count=3" in said
    assert "ValueError: oh" in said
    assert "Warning" not in said


def test_an_output_that_is_gone_stops_nobody() -> None:
    script = """
handler = logging.getLogger().handlers[0]
handler.stream = open("/dev/full", "w", buffering=1)
logger.info("nobody reads this")
handler.stream = sys.stdout
"""
    assert "nobody" not in written(script)


def test_what_asyncio_finds_unhandled_goes_the_same_way() -> None:
    script = """
async def main():
    asyncio.get_running_loop().call_soon(lambda: (_ for _ in ()).throw(ValueError(f"token={SEED}")))
    await asyncio.sleep(0.01)
asyncio.run(main())
"""
    (line,) = lines(script)
    assert line["logger"] == "asyncio"
    assert SEED not in json.dumps(line)
