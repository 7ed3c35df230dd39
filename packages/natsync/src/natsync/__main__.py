"""Settings to a running natsync, or to a bootstrapped platform."""

import asyncio
import sys

import typer

from common.core.errors import ServiceError
from common.serving import server
from common.serving.logs import configure
from common.serving.settings import SettingsError, load, reference
from natsync import app as natsync
from natsync.core.collections import CollectionUnfit
from natsync.core.sealing import SealBroken
from natsync.settings import Settings

cli = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def loaded() -> Settings:
    try:
        return load(Settings)
    except SettingsError as error:
        typer.echo(f"natsync: {error}", err=True)
        raise typer.Exit(2) from None


@cli.command()
def serve() -> None:
    """Keep PocketBase and NATS in step until told to stop."""
    chosen = loaded()
    configure("natsync", level=chosen.log_level, console=chosen.log_format == "console")
    server.serve(natsync.create_app(chosen), host=chosen.host, port=chosen.port)


@cli.command()
def bootstrap() -> None:
    """Prepare PocketBase's collections and the files nats-server starts from. A second run changes nothing."""
    chosen = loaded()
    try:
        asyncio.run(natsync.bootstrap(chosen, typer.echo))
    except (ServiceError, CollectionUnfit, SealBroken, OSError) as error:
        typer.echo(f"natsync bootstrap: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo("natsync bootstrap: done")


@cli.command()
def settings() -> None:
    """Print every setting as a Markdown table."""
    typer.echo(reference(Settings))


if __name__ == "__main__":
    sys.exit(cli())
