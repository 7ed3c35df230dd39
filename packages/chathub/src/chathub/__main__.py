"""`python -m chathub serve | migrate | reconcile | ...`. Each command loads what it alone needs."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from pydantic_settings import BaseSettings

from chathub.settings import DatabaseSettings, Settings
from common.core.errors import ServiceError, UpstreamUnavailable
from common.serving import logs
from common.serving.settings import SettingsError, load, reference

S = TypeVar("S", bound=BaseSettings)
T = TypeVar("T")

command = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@contextmanager
def refusals() -> Generator[None]:
    """Settings at fault are one line and status 2, never a traceback with values in it."""
    try:
        yield
    except SettingsError as error:
        typer.echo(f"chathub: {error}", err=True)
        sys.exit(2)


def outcome(kind: type[S], work: Callable[[S], Coroutine[Any, Any, T]], *, status_of_failure: int) -> T:
    """What the work gives, or the end of the process with one line that says why not."""
    with refusals():
        settings = load(kind)
    try:
        return asyncio.run(work(settings))
    except ServiceError as error:
        typer.echo(f"chathub: {error}", err=True)
        sys.exit(status_of_failure)


@command.command()
def serve() -> None:
    """Run the service until SIGTERM."""
    from chathub.app import Service
    from common.serving.server import serve as run_server

    with refusals():
        settings = load(Settings)
    logs.configure("chathub", level=settings.log_level, console=settings.log_format == "console")
    service = Service(settings)
    run_server(service, host=settings.host, port=settings.port, drain=service.drain)


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
def reconcile() -> None:
    """Prove that PostgreSQL holds what the log holds, or name what differs; status 0 if it does."""
    from chathub.app import reconciled
    from chathub.core.reconciliation import told

    found = outcome(Settings, reconciled, status_of_failure=2)
    typer.echo(told(found))
    sys.exit(0 if found.is_proof() else 1)


@command.command()
def renew_log() -> None:
    """Delete a chat log that was set back, so that the nodes make a new one; any other is left as it is.

    Clients are told that they stand in another log. PostgreSQL keeps what it has.
    """
    from chathub.app import renewed

    log = outcome(Settings, renewed, status_of_failure=1)
    typer.echo(f"deleted the log {log.epoch}, which ended at {log.last}")


@command.command()
def audit() -> None:
    """Prove that the moderation log is as it was written, or name the first entry that is not; status 0 if it is.

    The seal that is printed stands for the whole log up to here: noted elsewhere, it shows later that nothing was
    taken off the end.
    """
    from chathub.app import proved

    proof = outcome(DatabaseSettings, proved, status_of_failure=2)
    if proof.broken is not None:
        typer.echo(f"broken at entry {proof.broken}")
        sys.exit(1)
    typer.echo(f"entries    {proof.entries}\nseal       {proof.seal.hex()}")


@command.command()
def settings() -> None:
    """Print the settings as a Markdown table."""
    typer.echo(reference(Settings))


if __name__ == "__main__":
    command()
