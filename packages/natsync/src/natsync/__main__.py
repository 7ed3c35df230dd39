"""Settings to a running natsync, or to one command that is done and over and loads no web server."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar

import typer

from common.core.errors import ServiceError
from common.serving.logs import configure
from common.serving.settings import SettingsError, load, reference
from natsync import commands
from natsync.commands import NscStore
from natsync.core.claims.keys import BadKey
from natsync.core.collections.shape import CollectionUnfit
from natsync.core.moving.adoption import NotAdoptable
from natsync.core.servers.server_configuration import BELOW, Layout
from natsync.core.showing.plan_text import plan_lines
from natsync.core.state.sealing import SealBroken
from natsync.export import NothingToExport
from natsync.rekey import KeyRefused
from natsync.settings import Settings

SETTINGS_REFUSED = 2
DIFFERS = 3
FAILURES = (ServiceError, CollectionUnfit, SealBroken, KeyRefused, NotAdoptable, NothingToExport, BadKey, OSError)
MOST_NODES = 99

T = TypeVar("T")

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Keeps PocketBase and NATS in step. Settings come from the environment; `natsync settings` lists them.",
)


def loaded() -> Settings:
    try:
        return load(Settings)
    except SettingsError as error:
        typer.echo(f"natsync: {error}", err=True)
        raise typer.Exit(SETTINGS_REFUSED) from None


def done(name: str, work: Callable[[Settings], Coroutine[Any, Any, T]], *, quiet: bool = False) -> T:
    """Run one command to its end, and say that it ended or why it did not."""
    chosen = loaded()
    configure("natsync", level="ERROR", console=True)
    try:
        answer = asyncio.run(work(chosen))
    except FAILURES as error:
        typer.echo(f"natsync {name}: {error}", err=True)
        raise typer.Exit(1) from None
    if not quiet:
        typer.echo(f"natsync {name}: done")
    return answer


@cli.command()
def serve() -> None:
    """Keep PocketBase and NATS in step until told to stop.

    Does not start when PocketBase holds secrets that the encryption key does not open.
    """
    chosen = loaded()
    try:
        asyncio.run(commands.may_start(chosen))
    except KeyRefused as error:
        typer.echo(f"natsync: {error}", err=True)
        raise typer.Exit(SETTINGS_REFUSED) from None
    configure("natsync", level=chosen.log_level, console=chosen.log_format == "console")
    from common.serving import server
    from natsync.app import create_app

    server.serve(create_app(chosen), host=chosen.host, port=chosen.port)


@cli.command()
def bootstrap() -> None:
    """Prepare PocketBase's collections and the files nats-server starts from. A second run changes nothing."""
    done("bootstrap", lambda chosen: commands.bootstrap(chosen, typer.echo))


@cli.command()
def plan(
    *, exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when there is something to do.")] = False
) -> None:
    """Print what the next pass would do, and write nothing, neither to PocketBase nor to NATS.

    Removals are of accounts and users that natsync made and no row stands for any more; accounts of others are named
    and left alone.
    """
    found = done("plan", commands.plan, quiet=True)
    for line in plan_lines(found):
        typer.echo(line)
    if exit_code and not found.is_empty:
        raise typer.Exit(DIFFERS)


@cli.command()
def apply() -> None:
    """Make one pass: carry out what `plan` prints, verify it on every server, and show it on the rows.

    What no row stands for any more is removed if natsync made it, and nothing else.
    """
    done("apply", lambda chosen: commands.apply(chosen, typer.echo))


@cli.command()
def status() -> None:
    """Print how far every account has come, and which NATS servers answer. Ends with 1 while something is not."""
    found = done("status", commands.status, quiet=True)
    for line in found.lines:
        typer.echo(line)
    servers = done("status", commands.servers_there, quiet=True)
    typer.echo(f"NATS servers: {', '.join(servers)}")
    if not found.is_settled:
        raise typer.Exit(1)


@cli.command()
def export(
    *,
    directory: Annotated[Path, typer.Option("--directory", "-d", help="Where the files are written.")] = Path("nats"),
    nodes: Annotated[int, typer.Option(min=1, max=MOST_NODES, help="How many servers form the cluster.")] = 1,
    host: Annotated[
        list[str] | None,
        typer.Option(help="Where one of the servers runs; once for each. Without, all run on this machine."),
    ] = None,
    store: Annotated[
        str, typer.Option(help="Folder for accounts and streams; a relative one is below where the server is started.")
    ] = str(BELOW),
    name: Annotated[str, typer.Option(help="The cluster's name; its servers are numbered.")] = "pocketwire",
    only: Annotated[
        str, typer.Option("--print", help="Write nothing; print this file, such as operator.jwt or nats.conf.")
    ] = "",
) -> None:
    """Write what nats-servers elsewhere need in order to trust this operator.

    operator.jwt, operator.conf, nats.conf and a README that says how to start them; for a cluster nats-<n>.conf too.
    The folder may be copied anywhere. The same ledger gives the same files.
    """
    hosts = tuple(host or ())
    if hosts and nodes not in (1, len(hosts)):
        raise typer.BadParameter("one --host for each of the --nodes")

    def layout(chosen: Settings) -> Layout:
        ports = commands.ports_of(chosen)
        return Layout(len(hosts) or nodes, hosts, ports=ports, store=PurePath(store), cluster=name)

    if not only:
        done("export", lambda chosen: commands.export(chosen, layout(chosen), directory, typer.echo))
        return
    files = done("export", lambda chosen: commands.exported_files(chosen, layout(chosen)), quiet=True)
    if only not in files:
        raise typer.BadParameter(f"there is {', '.join(files)}", param_hint="--print")
    typer.echo(files[only], nl=not files[only].endswith("\n"))


@cli.command()
def rekey() -> None:
    """Seal every stored secret with another key.

    Stop natsync, set NATSYNC_ENCRYPTION_KEY to the new key and NATSYNC_OLD_ENCRYPTION_KEY to the one until now, run
    this, and start natsync with the new key. It may be interrupted and run again; until it is through, natsync starts
    with neither key.
    """
    done("rekey", lambda chosen: commands.rekey(chosen, typer.echo))


@cli.command(name="import-nsc")
def import_nsc(
    store: Annotated[Path, typer.Argument(help="nsc's folder of stores, or one operator's folder in it.")],
    keys: Annotated[Path, typer.Option(help="nsc's folder of keys; it is searched for *.nk.")],
    operator: Annotated[str, typer.Option(help="Which operator, where the store has several.")] = "",
) -> None:
    """Take over the operator, accounts and users that nsc keeps, with the keys that are there.

    Existing credentials go on working. What rows cannot express is left as it is, and said. Run it before the first
    `bootstrap`, while natsync stands still; interrupted, it may be run again.
    """
    done("import-nsc", lambda chosen: commands.import_store(chosen, NscStore(store, keys, operator), typer.echo))


@cli.command(name="import-pbnats")
def import_pbnats() -> None:
    """Take over what pb-nats keeps in this PocketBase: every row stays, and every key.

    Stop pb-nats, run this, then `bootstrap`. Keys that pb-nats has sealed need NATSYNC_PBNATS_ENCRYPTION_KEY.
    Interrupted, it may be run again.
    """
    done("import-pbnats", lambda chosen: commands.import_pbnats(chosen, typer.echo))


@cli.command()
def settings() -> None:
    """Print every setting as a Markdown table."""
    typer.echo(reference(Settings))


if __name__ == "__main__":
    sys.exit(cli())
