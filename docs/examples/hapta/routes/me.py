"""Who is asking, as far as the session says."""

from gateway.file_routes import Context, Database, Response


async def GET(ctx: Context, db: Database) -> Response:
    if not ctx.principal.is_authenticated:
        return ctx.json({"error": True, "message": "Sign in first."}, 401)
    username = ctx.principal.username
    clearance = ctx.principal.highest_clearance
    return ctx.json({"username": username, "clearance": clearance})
