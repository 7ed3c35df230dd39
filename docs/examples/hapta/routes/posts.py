"""The first twenty posts."""

from gateway.file_routes import Context, Database, Response


async def GET(ctx: Context, db: Database) -> Response:
    return ctx.json(await db.list("posts", page=1, limit=20))
