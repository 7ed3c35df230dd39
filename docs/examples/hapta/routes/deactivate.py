"""Three changes in one transaction: all of them are made, or none."""

from gateway.file_routes import Context, Database, Response


async def POST(ctx: Context, db: Database) -> Response:
    ids: dict[str, str] = ctx.metadata.json
    db.set_batch(True)
    await db.create("logs", {"message": "Init"})
    await db.update("users", ids["user"], {"active": False})
    await db.delete("visits", ids["visit"])
    saved = await db.save_changes()  # executes all queued operations
    return ctx.json({"saved": len(saved)})


async def PUT(ctx: Context, db: Database) -> Response:
    """The same by a block, which saves at its end and forgets everything if anything in it fails."""
    ids: dict[str, str] = ctx.metadata.json
    async with db.batch():
        await db.create("logs", {"message": "Init"})
        await db.update("users", ids["user"], {"active": False})
        await db.delete("visits", ids["visit"])
    return ctx.json({"success": True})
