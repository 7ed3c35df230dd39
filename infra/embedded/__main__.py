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
from rich.console import Console
from rich.live import Live
from rich.table import Table

from common.serving import logs as log_format
from common.serving.settings import SettingsError
from infra.embedded import parts, ports, settings, status
from infra.embedded.accounts import NoAccount
from infra.embedded.first_run import first_admin_marker
from infra.embedded.graph import StepFailed
from infra.embedded.process import end_with_parent
from infra.embedded.settings import REPOSITORY, PlatformSettings
from infra.embedded.status import AlreadyRunning, PartStatus, State
from infra.embedded.supervisor import supervise

START_SECONDS = 60.0
DOWN_SECONDS = 40.0
PLAIN_WIDTH = 160

app = typer.Typer(
    help="Pocketwire on this machine.", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PLAIN_WIDTH)

COLOURS = {State.GREEN: "green", State.STARTING: "yellow", State.WAITING: "dim"}


@app.command()
def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when everything is green.")] = False,
) -> None:
    """Start the platform. Ctrl-C stops it; a part that dies is started again."""
    started = time.monotonic()
    chosen = prepared()
    first = not first_admin_marker(chosen.data).exists()
    keeper = start_keeper(chosen.data)
    try:
        if not wait_until_green(chosen, keeper, first=first, started=started):
            raise typer.Exit(1)
        if not detach:
            raise typer.Exit(keeper.wait())
    except KeyboardInterrupt:
        console.print("stopping ...")
        stop_and_wait(keeper)


def prepared() -> PlatformSettings:
    """Everything that can be wrong is found here, before anything is started. Exits with one line otherwise."""
    environment = dict(os.environ)
    home = settings.home_folder(environment)
    try:
        require_writable(home / ".data")
        if (holder := status.running_pid(home / ".data")) is not None:
            fail(f"already running (pid {holder}): `just status` shows it, `just down` stops it")
        settings.generate_missing(environment)
        chosen = settings.load(environment)
        ports.check(ports.wanted(chosen))
        parts.describe(chosen, settings.variables(environment))
    except (SettingsError, ports.PortTaken, NoAccount, FileNotFoundError) as error:
        fail(str(error))
    except OSError as error:
        fail(f"cannot write to {error.filename}: {error.strerror}")
    (chosen.data / "initialised").touch()
    return chosen


def require_writable(data: Path) -> None:
    """Raises OSError."""
    for folder in (data, data / "logs", data / "run"):
        folder.mkdir(parents=True, exist_ok=True)
    data.chmod(0o711)  # PostgreSQL's account passes through it when the platform runs as root
    for folder in (data / "logs", data / "run"):
        folder.chmod(0o700)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()


def fail(message: str) -> NoReturn:
    typer.echo(f"pocketwire: {message}", err=True)
    raise typer.Exit(1)


def start_keeper(data: Path) -> subprocess.Popen[bytes]:
    """A process that starts the supervisor, and starts it again should it be killed."""
    (data / "run" / "status.json").unlink(missing_ok=True)
    with (data / "logs" / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "infra.embedded", "keep"],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait_until_green(chosen: PlatformSettings, keeper: subprocess.Popen[bytes], *, first: bool, started: float) -> bool:
    """Show the table until every part is green; otherwise stop everything, say why, and answer False."""
    with Live(console=console, refresh_per_second=8, transient=not console.is_terminal) as live:
        while time.monotonic() - started < START_SECONDS:
            now = status.read(chosen.data)
            if console.is_terminal:
                live.update(table(now.parts))
            if now.error or keeper.poll() is not None or status.all_green(now.parts):
                break
            time.sleep(0.1)
    now = status.read(chosen.data)
    if status.all_green(now.parts) and keeper.poll() is None:
        welcome(chosen, now.parts, first=first, seconds=time.monotonic() - started)
        return True
    stop_and_wait(keeper)
    waiting = ", ".join(part.name for part in now.parts if part.state is not State.GREEN)
    fail(now.error or f"not green within {START_SECONDS:g} s: {waiting}; see {chosen.data / 'logs'}")
    return False


def welcome(chosen: PlatformSettings, seen: list[PartStatus], *, first: bool, seconds: float) -> None:
    if not console.is_terminal:
        console.print(table(seen))
    console.print(f"Everything is green after {seconds:.1f} s.\n")
    console.print(f"  URL    {chosen.public_url}")
    if not chosen.domain:
        console.print(f"         https://localhost:{chosen.https_port} (Caddy's own authority)")
    console.print(f"  Data   {chosen.data}")
    console.print(f"  Logs   {chosen.data / 'logs'}")
    if first:
        console.print(
            f"  Admin  {chosen.admin_email}  password {chosen.admin_password}  (shown this once; kept in .env)"
        )


def table(seen: list[PartStatus]) -> Table:
    drawn = Table(box=None, pad_edge=False)
    for column in ("part", "state", "pid", "restarts", "log"):
        drawn.add_column(column, no_wrap=True)
    for part in seen:
        colour = COLOURS.get(part.state, "red")
        pid = str(part.pid or "-")
        drawn.add_row(part.name, f"[{colour}]{part.state}[/]", pid, str(part.restarts), short(part.log))
    return drawn


def short(path: str) -> str:
    here = Path(path)
    return str(here.relative_to(REPOSITORY)) if here.is_relative_to(REPOSITORY) else path


def stop_and_wait(keeper: subprocess.Popen[bytes]) -> None:
    if keeper.poll() is None:
        keeper.terminate()
    keeper.wait(timeout=DOWN_SECONDS)


@app.command()
def keep() -> None:
    """Run the supervisor, again and again should it be killed. (`up` starts this.)"""
    environment = dict(os.environ)
    data = settings.home_folder(environment) / ".data"
    try:
        held = status.lock(data)
    except AlreadyRunning:
        raise typer.Exit(1) from None
    stopping = False
    child: subprocess.Popen[bytes] | None = None

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True
        if child is not None:
            child.terminate()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    code = 0
    with held:
        while not stopping:
            child = subprocess.Popen(
                [sys.executable, "-m", "infra.embedded", "supervise"], cwd=REPOSITORY, preexec_fn=end_with_parent
            )
            if stopping:
                child.terminate()
            code = child.wait()
            if code >= 0:
                break
    raise typer.Exit(max(code, 0))


@app.command("supervise")
def supervise_command() -> None:
    """Run the parts until told to stop. (`keep` starts this.)"""
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
    data = settings.home_folder(dict(os.environ)) / ".data"
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
    data = settings.home_folder(dict(os.environ)) / ".data"
    if status.running_pid(data) is None:
        typer.echo("not running")
        raise typer.Exit(3)
    seen = status.read(data).parts
    console.print(table(seen))
    raise typer.Exit(0 if status.all_green(seen) else 1)


@app.command()
def logs(
    part: Annotated[str | None, typer.Argument(help="One part; without it, all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on printing what comes.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", help="How many lines of each.")] = 100,
) -> None:
    """Print the end of the logs."""
    folder = settings.home_folder(dict(os.environ)) / ".data" / "logs"
    files = sorted(folder.glob(f"{part or '*'}.log"))
    if not files:
        known = ", ".join(sorted(file.stem for file in folder.glob("*.log"))) or "none yet"
        fail(f"no log of {part!r}; there are: {known}" if part else f"no logs in {folder}")
    command = ["tail", f"--lines={lines}", *(["--follow=name"] if follow else []), *map(str, files)]
    raise typer.Exit(subprocess.run(command, check=False).returncode)


if __name__ == "__main__":
    app()
