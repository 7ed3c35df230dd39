"""A route in another server: here in an application of FastAPI, with a context made by hand."""

import runpy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response

from gateway.file_routes import Context, Metadata, open_database

ROUTES = Path(__file__).parent / "routes"


def create_app(gateway_url: str) -> FastAPI:
    app = FastAPI()
    handler: Any = runpy.run_path(str(ROUTES / "posts.py"))["GET"]

    @app.get("/posts")
    async def posts(request: Request) -> Response:
        ctx = Context()
        # inject principal, services, metadata, etc.
        ctx.metadata = Metadata(
            request_id="xyz",
            timestamp=datetime.now(UTC),
            query=dict(request.query_params),
            headers=dict(request.headers),
        )
        token = request.headers.get("authorization", "")
        async with open_database(gateway_url, token) as db:
            answer = await handler(ctx, db)
        response = Response(answer.body, answer.status)
        response.raw_headers = answer.raw_headers
        return response

    return app
