"""`python -m gateway serve | settings`."""

import sys

import typer

from common.serving import logs
from common.serving.server import serve as run_server
from common.serving.settings import SettingsError, load, reference
from gateway.app import create_app
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
    app = create_app(settings)
    run_server(app, host=settings.host, port=settings.port, before_drain=app.close)


@command.command()
def settings() -> None:
    """Print the settings as a Markdown table."""
    typer.echo(reference(Settings))


if __name__ == "__main__":
    command()
