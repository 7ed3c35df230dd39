"""What is logged of WebSockets."""

import asyncio
import logging
import socket
from contextlib import suppress

import pytest
import uvicorn
import websockets
from starlette.types import Receive, Scope, Send

from common.serving.logs import QUIETED
from common.serving.server import ClosingWebSocket


async def accepting(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"} if scope["path"] == "/ws" else {"type": "websocket.close"})


async def test_the_query_that_a_socket_was_opened_with_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    for name in QUIETED:
        caplog.set_level(logging.WARNING, logger=name)
    caplog.set_level(logging.INFO)
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(accepting, ws=ClosingWebSocket, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server._serve([listener]))  # pyright: ignore[reportPrivateUsage] - without its signals
        for path in ("ws", "nothing"):
            url = f"ws://127.0.0.1:{listener.getsockname()[1]}/{path}?code=said-to-nobody"
            with suppress(websockets.InvalidStatus):
                async with websockets.connect(url):
                    pass
        server.should_exit = True
    assert "said-to-nobody" not in caplog.text
