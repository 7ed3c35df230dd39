"""`GET /hello` greets whoever asks; `POST /hello` greets whoever is named, once the schema has read the name."""

from gateway.file_routes import Context, Database, Response


async def GET(ctx: Context, db: Database) -> Response:
    """Greet the caller."""
    if not ctx.principal.is_authenticated:
        return ctx.text("Hello, stranger.")
    me = await db.get(ctx.principal.collection, ctx.principal.id)
    return ctx.json({"greeting": f"Hello, {me.get('name') or 'friend'}."})


async def POST(ctx: Context, db: Database) -> Response:
    """Greet somebody else."""
    return ctx.json({"greeting": f"Hello, {ctx.body.name}."})
