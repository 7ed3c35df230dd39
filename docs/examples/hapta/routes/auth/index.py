"""Signs in by any strategy: `POST /auth?type=password`, `oauth`, `otp` or `mfa`."""

from gateway.file_routes import Context, Database, Response


async def POST(ctx: Context, db: Database) -> Response:
    """Sign in, and get a session token."""
    type = ctx.metadata.query.get("type")
    if type == "oauth":
        result = await ctx.services.authenticate({**ctx.metadata.query, "type": "oauth"})
        return (
            ctx.json(result) if result.is_authenticated else ctx.json({"error": True, "message": "OAuth failed"}, 401)
        )
    if type in ("password", "otp", "mfa"):
        result = await ctx.services.authenticate({**ctx.metadata.json, "type": type})
        # another step is wanted: of two factors, or with the one-time password that was just sent
        if result.is_authenticated or result.mfa_id or result.otp_id:
            return ctx.json(result)
        return ctx.json({"error": True, "message": "Invalid credentials"}, 400)
    return ctx.json({"error": True, "message": "Unsupported auth type"}, 400)
