"""One user, as the caller may see him."""

from gateway.file_routes import Context, Database, Response


async def GET(ctx: Context, db: Database) -> Response:
    record = await db.get("users", ctx.metadata.params["id"])
    return ctx.json(record)
