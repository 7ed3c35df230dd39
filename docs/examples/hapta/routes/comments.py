"""A comment, its id known before it is written."""

from gateway.file_routes import Context, Database, Response


async def POST(ctx: Context, db: Database) -> Response:
    db.set_batch(True)
    comment = await db.create("comments", {"body": "Hello!"}, True)
    await db.save_changes()
    return ctx.json(comment, 201)
