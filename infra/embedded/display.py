"""What people see of a platform: the table of its parts and the words of welcome."""

import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from infra.embedded.repository import REPOSITORY
from infra.embedded.settings import PlatformSettings
from infra.embedded.status import PartStatus, State

PLAIN_WIDTH = 160
COLOURS = {State.GREEN: "green", State.STARTING: "yellow", State.WAITING: "dim"}


def console() -> Console:
    """A terminal's own width, or one wide enough for whole paths where the output goes to a file."""
    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else PLAIN_WIDTH)


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


def welcome(chosen: PlatformSettings, *, first: bool, seconds: float) -> str:
    lines = [f"Everything is green after {seconds:.1f} s.", "", f"  URL    {chosen.public_url}"]
    if not chosen.domain:
        lines.append(f"         https://localhost:{chosen.https_port} (Caddy's own authority)")
    lines += [f"  Data   {chosen.data}", f"  Logs   {chosen.data / 'logs'}"]
    if first:
        login = f"{chosen.admin_email}  password {chosen.admin_password}"
        lines.append(f"  Admin  {login}  (shown this once; kept in .env)")
    return "\n".join(lines)
