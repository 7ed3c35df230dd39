"""`python -m gateway init | check | serve | settings`. Who looks after workers loads nothing of the gateway itself."""

import asyncio
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from common.serving import logs
from common.serving.settings import SettingsError, UnknownKeys, environment, load, reference, variables_beside
from common.serving.workers import Place, end_with, supervise
from gateway.core.old_keys import OldKey, advice, old_keys_in
from gateway.core.route_files.refusals import FaultyFolder
from gateway.settings import Settings
from gateway.start_project import ProjectExists, start_project

CONFIG = "GATEWAY_CONFIG"
DEFAULT_CONFIG = Path("gateway.toml")

logger = structlog.get_logger(__name__)

command = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def loaded() -> Settings:
    """From the environment and gateway.toml, or the file that GATEWAY_CONFIG names. Exits where they do not fit."""
    file = config_file()
    try:
        return load(Settings, file if file.exists() or CONFIG in environment() else None)
    except UnknownKeys as error:
        told = [str(error), *(advice(key) for key in old_keys_in(error.keys))]
        leave("\n".join(told))
    except SettingsError as error:
        leave(str(error))


def config_file() -> Path:
    return Path(environment().get(CONFIG) or DEFAULT_CONFIG)


def old_keys() -> list[OldKey]:
    """Those of the environment, and of the `.env` that Hapta would have read."""
    return old_keys_in({*environment(), *variables_beside(config_file())})


def leave(message: str) -> NoReturn:
    typer.echo(f"gateway: {message}", err=True)
    sys.exit(2)


@command.command()
def serve() -> None:
    """Run the gateway until SIGTERM."""
    settings = loaded()
    logs.configure("gateway", level=settings.log_level, console=settings.log_format == "console")
    for key in old_keys():
        logger.warning("an old setting was found", old=key.name, new=key.replacement, advice=advice(key))
    if settings.workers > 1:
        check_first(settings)
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


def check_first(settings: Settings) -> None:
    """Workers that do not start would be started again for ever. In a process of its own, since it runs the files."""
    if settings.routes_folder:
        checked = subprocess.run([sys.executable, "-m", "gateway", "check"], check=False)
        if checked.returncode:
            sys.exit(checked.returncode)


@command.command()
def check() -> None:
    """Tell whether settings, routes and schemas would let the gateway start."""
    from gateway.open_routes import open_route_files

    settings = loaded()
    logs.configure("gateway", level="CRITICAL")
    for key in old_keys():
        typer.echo(f"gateway: {advice(key)}", err=True)

    async def read() -> None:
        async with open_route_files(settings):
            pass

    try:
        asyncio.run(read())
    except FaultyFolder as error:
        leave(str(error))


@command.command()
def init(
    folder: Path,
    email: Annotated[str, typer.Option(help="A superuser of PocketBase.")] = "admin@example.com",
    password: Annotated[str, typer.Option(help="Its password; it goes into .env.")] = "",
) -> None:
    """Write a project to begin with: a rule, a route with its schema, a test, settings and keys."""
    try:
        written = start_project(folder, email=email, password=password)
    except (ProjectExists, OSError) as error:
        leave(f"there is something in the way: {error}")
    for path in written:
        typer.echo(str(folder / path))
    if not password:
        typer.echo(f"\nGATEWAY_POCKETBASE_PASSWORD in {folder / '.env'} is empty: set it.", err=True)
    typer.echo(f"\nNext: cd {folder} && gateway check && gateway serve")


@command.command(hidden=True)
def work(index: int, public: int, operations: int, lifeline: int, directory: Path) -> None:
    """Be one of several processes that `serve` has started; its arguments are what they inherit."""
    from common.serving.server import serve as run_server
    from gateway.app import create_app

    settings = loaded()
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
