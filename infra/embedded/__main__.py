"""Runs the whole platform on this machine: `up`, `down`, `status`, `logs`."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.live import Live

from common.serving import logs as log_format
from infra.embedded import display, keeper, parts, preflight, settings, status
from infra.embedded.first_run import first_admin_marker
from infra.embedded.graph import StepFailed
from infra.embedded.settings import PlatformSettings
from infra.embedded.status import PartStatus, State
from infra.embedded.supervisor import supervise

START_SECONDS = 60.0
DOWN_SECONDS = 40.0

app = typer.Typer(
    help="Pocketwire on this machine.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is green.")] = False,
) -> None:
    """Start the platform. Ctrl-C stops it; a part that dies is started again."""
    started = time.monotonic()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        chosen, held = preflight.prepare(dict(os.environ))
    except preflight.CannotStart as error:
        fail(str(error))
    first = not first_admin_marker(chosen.data).exists()
    keeper.hold_interrupts()  # one that came between the start and the `try` would leave the platform running
    running = keeper.start(chosen.data, held)
    try:
        keeper.release_interrupts()
        wait_until_green(chosen, running, deadline=started + START_SECONDS)
        typer.echo(display.welcome(chosen, first=first, seconds=time.monotonic() - started))
        if not detach:
            raise typer.Exit(running.wait())
    except KeyboardInterrupt:
        typer.echo("stopping ...")
        stop_and_wait(running)


def interrupt(_number: int, _frame: object) -> NoReturn:
    raise KeyboardInterrupt


def fail(message: str) -> NoReturn:
    typer.echo(f"pocketwire: {message}", err=True)
    raise typer.Exit(1)


def wait_until_green(chosen: PlatformSettings, running: subprocess.Popen[bytes], *, deadline: float) -> None:
    """Show the table until every part is green; otherwise stop everything and say why."""
    console = display.console()
    now = status.read(chosen.data)
    with Live(console=console, refresh_per_second=8) as live:
        while running.poll() is None and not now.error and not status.all_green(now.parts):
            if time.monotonic() > deadline:
                break
            if console.is_terminal:
                live.update(display.table(now.parts))
            time.sleep(0.1)
            now = status.read(chosen.data)
        live.update(display.table(now.parts))
    if not console.is_terminal:
        typer.echo()  # rich ends the last line on terminals only
    if running.poll() is None and status.all_green(now.parts):
        return
    why = now.error or reason(chosen, now.parts, ended=running.poll() is not None)
    stop_and_wait(running)
    fail(status.read(chosen.data).error or why)


def reason(chosen: PlatformSettings, seen: list[PartStatus], *, ended: bool) -> str:
    if ended:
        return f"stopped while starting; see {chosen.data / 'logs' / 'supervisor.log'}"
    missing = ", ".join(part.name for part in seen if part.state is not State.GREEN)
    return f"not green within {START_SECONDS:g} s: {missing}; see {chosen.data / 'logs'}"


def stop_and_wait(running: subprocess.Popen[bytes]) -> None:
    if running.poll() is None:
        running.terminate()
    running.wait(timeout=DOWN_SECONDS)


@app.command("supervise", hidden=True)
def supervise_command() -> None:
    """Run the parts until told to stop. (The keeper starts this.)"""
    log_format.configure("supervisor")
    environment = dict(os.environ)
    chosen = settings.load(environment)
    platform = parts.describe(chosen, settings.variables(environment))
    try:
        asyncio.run(supervise(platform.parts, platform.steps, chosen.data))
    except (StepFailed, OSError) as error:
        status.write(chosen.data, status.read(chosen.data).parts, error=str(error))
        raise typer.Exit(1) from None


@app.command()
def down() -> None:
    """Stop the platform and wait until it is gone."""
    data = data_folder()
    pid = status.running_pid(data)
    if pid is None:
        typer.echo("not running")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + DOWN_SECONDS
    while status.running_pid(data) is not None:
        if time.monotonic() > deadline:
            fail(f"pid {pid} is still there after {DOWN_SECONDS:g} s; see {data / 'logs' / 'supervisor.log'}")
        time.sleep(0.1)
    typer.echo("stopped")


@app.command("status")
def status_command() -> None:
    """Show every part. Exit code 0 when all are green, 1 when some are not, 3 when nothing runs."""
    data = data_folder()
    if status.running_pid(data) is None:
        typer.echo("not running")
        raise typer.Exit(3)
    seen = status.read(data).parts
    display.console().print(display.table(seen))
    raise typer.Exit(0 if status.all_green(seen) else 1)


@app.command()
def logs(
    part: Annotated[str | None, typer.Argument(help="One part; without it, all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of each.")] = 100,
) -> None:
    """Print the end of the logs."""
    folder = data_folder() / "logs"
    files = sorted(folder.glob(f"{part or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        fail(f"no log of {part!r}; there are: {known}" if part else f"no logs in {folder}")
    command = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *map(str, files)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


def data_folder() -> Path:
    return settings.home_folder(dict(os.environ)) / ".data"


if __name__ == "__main__":
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
