"""What a new platform needs before its services start. Each step is harmless when it was done before."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import asyncpg

from common.adapters.pocketbase import PocketBase, open_pocketbase
from common.core.errors import InvalidRequest, ServiceError, UpstreamUnavailable
from infra.embedded import binaries, postgres, process
from infra.embedded.graph import StepFailed
from infra.embedded.settings import PlatformSettings

CHATHUB_ROLE = "chathub"
STEP_SECONDS = 60.0

POCKETBASE_SETTINGS: dict[str, dict[str, Any]] = {
    # the gateway names the client; PocketBase's limits and realtime checks go by that address
    "trustedProxy": {"headers": ["X-Forwarded-For"], "useLeftmostIP": False},
    "batch": {"enabled": True},
}


async def run_command(name: str, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
    """Run a program to its end, its output in `log`. Raises StepFailed with its last line."""
    try:
        code = await process.run(command, environment, log, STEP_SECONDS)
    except TimeoutError:
        raise StepFailed(f"{name} did not finish within {STEP_SECONDS:g} s; see {log}") from None
    if code != 0:
        raise StepFailed(f"{name} failed: {process.last_line(log)}")


async def initialise_postgres(settings: PlatformSettings, directory: Path) -> None:
    def work() -> None:
        postgres.initialise(directory, password=settings.postgres_password)

    try:
        await asyncio.to_thread(work)
    except postgres.NotInitialised as error:
        raise StepFailed(f"PostgreSQL's data could not be made: {error}") from error


async def create_superuser(settings: PlatformSettings, data: Path, environment: Mapping[str, str]) -> None:
    """Before the first start, so that PocketBase never prints its installation link."""
    if (data / "data.db").exists():
        return
    login = ["--", settings.superuser_email, settings.superuser_password]
    command = [str(binaries.pocketbase()), f"--dir={data}", "superuser", "upsert", *login]
    if await process.run(command, environment, Path(os.devnull), STEP_SECONDS) != 0:
        raise StepFailed("PocketBase did not accept POCKETBASE_SUPERUSER_EMAIL and POCKETBASE_SUPERUSER_PASSWORD")


async def configure_pocketbase(settings: PlatformSettings, url: str) -> None:
    async with open_pocketbase(url, email=settings.superuser_email, password=settings.superuser_password) as control:
        try:
            await apply_settings(control)
        except UpstreamUnavailable as error:
            raise StepFailed(str(error)) from error
        except ServiceError as error:
            raise StepFailed(
                "PocketBase refuses the superuser login of .env (POCKETBASE_SUPERUSER_EMAIL, "
                f"POCKETBASE_SUPERUSER_PASSWORD): {error}"
            ) from error


async def apply_settings(control: PocketBase) -> None:
    present = await control.request("GET", "/api/settings")
    changes = {
        group: {**present[group], **wanted}
        for group, wanted in POCKETBASE_SETTINGS.items()
        if any(present[group].get(name) != value for name, value in wanted.items())
    }
    if changes:
        await control.request("PATCH", "/api/settings", changes)


async def create_admin(settings: PlatformSettings, url: str) -> None:
    """The first platform admin; later ones are made by him, and a deleted one stays deleted."""
    marker = first_admin_marker(settings.data)
    if marker.exists():
        return
    record = {
        "email": settings.admin_email,
        "password": settings.admin_password,
        "passwordConfirm": settings.admin_password,
        "name": "admin",
        "verified": True,
        "roles": ["admin"],
    }
    async with open_pocketbase(url, email=settings.superuser_email, password=settings.superuser_password) as control:
        try:
            await control.create("users", record)
        except InvalidRequest as error:
            if not await control.records("users", filter=f'email = "{settings.admin_email}"', fields="id"):
                raise StepFailed(f"the first platform admin could not be created: {error}") from error
        except ServiceError as error:
            raise StepFailed(f"the first platform admin could not be created: {error}") from error
    marker.touch()


def first_admin_marker(data: Path) -> Path:
    return data / "first-admin"


async def create_database(settings: PlatformSettings, server_url: str, chathub_url: str) -> None:
    """A database and a login of chathub's own, without rights elsewhere."""
    server = await asyncpg.connect(server_url, timeout=5)
    try:
        if await server.fetchval("select 1 from pg_database where datname = $1", CHATHUB_ROLE):
            await (await asyncpg.connect(chathub_url, timeout=5)).close()
            return
        quoted = await server.fetchval("select quote_literal($1)", settings.chathub_database_password)
        if not await server.fetchval("select 1 from pg_roles where rolname = $1", CHATHUB_ROLE):
            await server.execute(f"create role {CHATHUB_ROLE} login password {quoted}")
        await server.execute(f"create database {CHATHUB_ROLE} owner {CHATHUB_ROLE}")
        await server.execute(f"revoke connect on database {CHATHUB_ROLE} from public")
    except asyncpg.InvalidPasswordError as error:
        raise StepFailed("PostgreSQL refuses CHATHUB_DATABASE_PASSWORD of .env; put the old value back") from error
    finally:
        await server.close()


async def configure_valkey(settings: PlatformSettings, file: Path) -> None:
    """In a file, because a password on the command line is everybody's to read."""
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "\n".join(
        [
            "bind 127.0.0.1",
            f"port {settings.valkey_port}",
            f"requirepass {quoted(settings.valkey_password)}",
            f"dir {quoted(str(file.parent))}",
            "appendonly yes",
            "appendfsync everysec",
            "maxmemory 256mb",
            "maxmemory-policy volatile-ttl",  # what lasts longest goes last: sessions
            "daemonize no",
            "",
        ]
    )
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as output:
        output.write(text)


def quoted(value: str) -> str:
    """As Valkey's configuration reads it, whatever the value holds."""
    return '"' + "".join(f"\\x{byte:02x}" for byte in value.encode()) + '"'
