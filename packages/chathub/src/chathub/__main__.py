"""`python -m chathub serve | migrate | settings`. Each command loads what it alone needs, so that it starts quickly."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Annotated

import asyncpg
import typer

from chathub.settings import DatabaseSettings, Settings
from common.core.errors import UpstreamUnavailable
from common.serving import logs
from common.serving.settings import SettingsError, load, reference

command = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@contextmanager
def refusals() -> Generator[None]:
    """Settings at fault are one line and status 2, never a traceback with values in it."""
    try:
        yield
    except SettingsError as error:
        typer.echo(f"chathub: {error}", err=True)
        sys.exit(2)


@command.command()
def serve() -> None:
    """Run the service until SIGTERM."""
    from chathub.app import create_app
    from common.serving.server import serve as run_server

    with refusals():
        settings = load(Settings)
    logs.configure("chathub", level=settings.log_level, console=settings.log_format == "console")
    run_server(create_app(settings), host=settings.host, port=settings.port)


@command.command()
def migrate(wait_seconds: Annotated[float, typer.Option(help="How long PostgreSQL may take to answer.")] = 60) -> None:
    """Bring the database schema up to date; harmless to repeat, and to run from several places at once."""
    from chathub.migrate import migrate as apply_migrations

    with refusals():
        settings = load(DatabaseSettings)
    try:
        done = asyncio.run(apply_migrations(settings.database_url.get_secret_value(), wait_seconds=wait_seconds))
    except (UpstreamUnavailable, asyncpg.PostgresError) as error:
        typer.echo(f"chathub: {error}", err=True)
        sys.exit(1)
    except (asyncpg.InterfaceError, ValueError) as error:  # their text may repeat the URL, password and all
        typer.echo(f"chathub: DATABASE_URL cannot be used ({type(error).__name__})", err=True)
        sys.exit(1)
    typer.echo("".join(f"applied {revision}\n" for revision in done) or "up to date\n", nl=False)


@command.command()
def settings() -> None:
    """Print the settings as a Markdown table."""
    typer.echo(reference(Settings))


if __name__ == "__main__":
    command()
