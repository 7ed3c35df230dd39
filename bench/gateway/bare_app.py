"""The least that uvicorn can do for the same answer: `uvicorn bench.gateway.bare_app:app`, with ANSWER naming a file
of the status, the headers and the body."""

import json
import os
from pathlib import Path

from starlette.types import Receive, Scope, Send

_KEPT = json.loads(Path(os.environ["ANSWER"]).read_text())
_BEGIN = {
    "type": "http.response.start",
    "status": _KEPT["status"],
    "headers": [(name.encode(), value.encode()) for name, value in _KEPT["headers"]],
}
_BODY = {"type": "http.response.body", "body": _KEPT["body"].encode()}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        await send({"type": f"{event}.complete"})
        return
    await send(_BEGIN)
    await send(_BODY)
