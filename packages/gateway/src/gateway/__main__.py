"""`python -m gateway serve | settings`. Who only looks after workers loads nothing of the gateway itself."""

import socket
import sys
from pathlib import Path

import typer

from common.serving import logs
from common.serving.settings import SettingsError, load, reference
from common.serving.workers import Place, end_with, supervise
from gateway.settings import Settings

command = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


@command.command()
def serve() -> None:
    """Run the gateway until SIGTERM."""
    try:
        settings = load(Settings)
    except SettingsError as error:
        typer.echo(f"gateway: {error}", err=True)
        sys.exit(2)
    logs.configure("gateway", level=settings.log_level, console=settings.log_format == "console")
    if settings.workers > 1:
        supervise(
            [sys.executable, "-m", "gateway", "work"],
            workers=settings.workers,
            host=settings.host,
            port=settings.port,
            operations_port=settings.operations_port,
        )
        return
    from common.serving.server import serve as run_server
    from gateway.app import create_app

    app = create_app(settings)
    run_server(app, host=settings.host, port=settings.port, before_drain=app.close)


@command.command(hidden=True)
def work(index: int, public: int, operations: int, lifeline: int, directory: Path) -> None:
    """Be one of several processes that `serve` has started; its arguments are what they inherit."""
    from common.serving.server import serve as run_server
    from gateway.app import create_app

    settings = load(Settings)
    logs.configure("gateway", level=settings.log_level, console=settings.log_format == "console")
    end_with(lifeline)
    place = Place(index, public, operations, lifeline, directory)
    app = create_app(settings, place)
    listener = socket.socket(fileno=public)
    run_server(app, host=settings.host, port=settings.port, listener=listener, before_drain=app.close)


@command.command()
def settings() -> None:
    """Print the settings as a Markdown table."""
    typer.echo(reference(Settings))


if __name__ == "__main__":
    command()
