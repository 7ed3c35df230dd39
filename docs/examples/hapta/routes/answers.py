"""The ways to answer: JSON, HTML and text. Every origin may read them."""

from gateway.file_routes import Context, Database, Response


async def GET(ctx: Context, db: Database) -> Response:
    match ctx.metadata.query.get("as"):
        case "html":
            return ctx.html("<h1>Welcome</h1>")
        case "text":
            return ctx.text("Hello world")
        case _:
            return ctx.json({"success": True}, 200)
