"""The platform as parts and steps: who runs, with which environment, and who waits for whom.

postgres, superuser -> pocketbase -> settings -> trust (natsync bootstrap) -> nats -> natsync, chathub
valkey, pocketbase -> gateway      everything -> caddy      database: chathub's own, then its migrations
"""

import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import quote

from common.serving.settings import variable_name
from infra.embedded import binaries, caddy, first_run, postgres, probes
from infra.embedded.graph import Part, Step
from infra.embedded.settings import PlatformSettings

SETTINGS_REFUSED = 2
FORMER_OPERATOR_KEY = "HAPTA_ADMIN_KEY"


@dataclass(frozen=True, slots=True)
class Addresses:
    pocketbase: str
    nats: str
    valkey: str
    database: str
    database_server: str


@dataclass(frozen=True, slots=True)
class Platform:
    parts: list[Part]
    steps: list[Step]


def describe(settings: PlatformSettings, given: Mapping[str, str]) -> Platform:
    """`given` is every variable that was set: a service also receives those that bear its prefix."""
    where = addresses(settings)
    builder = Builder(settings, given, where)
    parts, steps = builder.servers(), builder.steps()
    return Platform([*parts, builder.natsync(), builder.gateway(), builder.chathub(), builder.caddy()], steps)


def addresses(settings: PlatformSettings) -> Addresses:
    def postgres(role: str, password: str) -> str:
        return f"postgresql://{role}:{quote(password, safe='')}@127.0.0.1:{settings.postgres_port}/{role}"

    valkey = f"redis://:{quote(settings.valkey_password, safe='')}@127.0.0.1:{settings.valkey_port}/0"
    chathub = postgres(first_run.CHATHUB_ROLE, settings.chathub_database_password)
    return Addresses(
        pocketbase=settings.pocketbase_url or f"http://127.0.0.1:{settings.pocketbase_port}",
        nats=settings.nats_url or f"nats://127.0.0.1:{settings.nats_port}",
        valkey=settings.valkey_url or valkey,
        database=settings.database_url or chathub,
        database_server=postgres("postgres", settings.postgres_password),
    )


@dataclass(frozen=True, slots=True)
class Builder:
    settings: PlatformSettings
    given: Mapping[str, str]
    where: Addresses

    def servers(self) -> list[Part]:
        own = [
            (self.settings.database_url, self.postgres),
            (self.settings.valkey_url, self.valkey),
            (self.settings.pocketbase_url, self.pocketbase),
            (self.settings.nats_url, self.nats),
        ]
        return [build() for url, build in own if url is None]

    def steps(self) -> list[Step]:
        settings, where = self.settings, self.where
        steps = [
            Step("settings", partial(first_run.configure_pocketbase, settings, where.pocketbase), ("pocketbase",)),
            Step("trust", self.command("trust", "natsync", "bootstrap"), ("settings",)),
            Step("admin", partial(first_run.create_admin, settings, where.pocketbase), ("trust",)),
            Step("migrations", self.command("migrations", "chathub", "migrate"), ("database", "postgres")),
        ]
        if settings.pocketbase_url is None:
            superuser = partial(first_run.create_superuser, settings, self.pocketbase_data(), self.base())
            steps.append(Step("superuser", superuser))
        if settings.valkey_url is None:
            write = partial(first_run.configure_valkey, settings, self.valkey_configuration())
            steps.append(Step("valkey configuration", write))
        if settings.database_url is None:
            make = partial(first_run.create_database, settings, where.database_server, where.database)
            steps.append(Step("database", make, ("postgres",)))
            steps.append(Step("cluster", partial(first_run.initialise_postgres, settings, self.postgres_data())))
        return steps

    def command(self, step: str, service: str, verb: str) -> Callable[[], Awaitable[None]]:
        log = self.settings.data / "logs" / f"{service}.log"
        environment = self.natsync_environment() if service == "natsync" else self.chathub_environment()
        return partial(first_run.run_command, step, self.python(service, verb), environment, log)

    def postgres(self) -> Part:
        command = postgres.command(self.postgres_data(), port=self.settings.postgres_port)
        return Part(
            "postgres",
            tuple(command),
            postgres.ENVIRONMENT,
            probes.postgres_answers(self.where.database_server),
            needs=("cluster",),
            stop_signal=signal.SIGINT,  # SIGTERM would wait for clients to leave by themselves
        )

    def valkey(self) -> Part:
        command = (str(binaries.valkey_server()), str(self.valkey_configuration()))
        ready = probes.valkey_answers(self.where.valkey)
        return Part("valkey", command, self.base(), ready, needs=("valkey configuration",))

    def pocketbase(self) -> Part:
        home = self.settings.data / "pocketbase"
        command = (
            str(binaries.pocketbase()),
            f"--dir={self.pocketbase_data()}",
            f"--hooksDir={home / 'pb_hooks'}",
            f"--migrationsDir={home / 'pb_migrations'}",
            f"--publicDir={home / 'pb_public'}",
            "serve",
            f"--http=127.0.0.1:{self.settings.pocketbase_port}",
        )
        ready = probes.HttpProbe(f"{self.where.pocketbase}/api/health")
        return Part("pocketbase", command, self.base(), ready, needs=("superuser",))

    def nats(self) -> Part:
        command = (str(binaries.nats_server()), "--config", str(self.trust_directory() / "nats.conf"))
        ready = probes.HttpProbe(f"http://127.0.0.1:{self.settings.nats_monitor_port}/healthz")
        return Part("nats", command, self.base(), ready, needs=("trust",))

    def natsync(self) -> Part:
        needs = ("trust", "nats")
        return self.service("natsync", self.natsync_environment(), self.settings.natsync_operations_port, needs)

    def gateway(self) -> Part:
        port = self.settings.gateway_operations_port
        return self.service("gateway", self.gateway_environment(), port, ("settings", "valkey"))

    def chathub(self) -> Part:
        needs = ("migrations", "trust", "nats", "valkey")
        return self.service("chathub", self.chathub_environment(), self.settings.chathub_operations_port, needs)

    def caddy(self) -> Part:
        command = (str(binaries.caddy()), "run", "--config", str(caddy.CADDYFILE), "--adapter", "caddyfile")
        front = self.settings.local_url
        ready = probes.HttpProbe(f"{front}/healthz", any_status=True)
        return Part("caddy", command, {**self.base(), **caddy.environment(self.settings)}, ready, needs=("admin",))

    def service(self, name: str, environment: Mapping[str, str], operations: int, needs: tuple[str, ...]) -> Part:
        ready = probes.HttpProbe(f"http://127.0.0.1:{operations}/readyz")
        command = tuple(self.python(name, "serve"))
        environment = {**self.prefixed("OTEL_"), **environment}
        return Part(name, command, environment, ready, needs=needs, refuses_with=SETTINGS_REFUSED)

    def natsync_environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            **self.base(),
            **self.prefixed("NATSYNC_"),
            "POCKETBASE_URL": self.where.pocketbase,
            "NATS_URL": self.where.nats,
            "NATSYNC_PORT": str(settings.natsync_port),
            "NATSYNC_OPERATIONS_PORT": str(settings.natsync_operations_port),
            "NATSYNC_POCKETBASE_EMAIL": settings.superuser_email,
            "NATSYNC_POCKETBASE_PASSWORD": settings.superuser_password,
            "NATSYNC_ENCRYPTION_KEY": settings.natsync_encryption_key,
            "NATSYNC_DIRECTORY": str(self.trust_directory()),
            "NATSYNC_NATS_PORT": str(settings.nats_port),
            "NATSYNC_NATS_WEBSOCKET_PORT": str(settings.nats_websocket_port),
            "NATSYNC_NATS_MONITOR_PORT": str(settings.nats_monitor_port),
            "NATSYNC_ISSUER": settings.public_url,
            "NATSYNC_JWKS_URL": self.key_set(),
        }

    def gateway_environment(self) -> dict[str, str]:
        settings = self.settings
        health = {
            "natsync": f"http://127.0.0.1:{settings.natsync_operations_port}/readyz",
            "chathub": f"http://127.0.0.1:{settings.chathub_operations_port}/readyz",
        }
        return {
            **self.base(),
            **self.prefixed("GATEWAY_"),
            **self.named(FORMER_OPERATOR_KEY),
            "POCKETBASE_URL": self.where.pocketbase,
            "VALKEY_URL": self.where.valkey,
            "NATS_URL": self.where.nats,
            "GATEWAY_NATS_CREDS": str(self.trust_directory() / "creds" / "gateway.creds"),
            "GATEWAY_PORT": str(settings.gateway_port),
            "GATEWAY_OPERATIONS_PORT": str(settings.gateway_operations_port),
            "GATEWAY_ISSUER": settings.public_url,
            "GATEWAY_SIGNING_KEY": settings.gateway_signing_key,
            "GATEWAY_SESSION_KEY": settings.gateway_session_key,
            "GATEWAY_POCKETBASE_EMAIL": settings.superuser_email,
            "GATEWAY_POCKETBASE_PASSWORD": settings.superuser_password,
            "GATEWAY_HEALTH_PARTS": json.dumps(health),
        }

    def chathub_environment(self) -> dict[str, str]:
        settings = self.settings
        return {
            **self.base(),
            **self.prefixed("CHATHUB_"),
            "DATABASE_URL": self.where.database,
            "NATS_URL": self.where.nats,
            "VALKEY_URL": self.where.valkey,
            "CHATHUB_PORT": str(settings.chathub_port),
            "CHATHUB_OPERATIONS_PORT": str(settings.chathub_operations_port),
            "CHATHUB_NATS_CREDS": str(self.trust_directory() / "creds" / "chathub.creds"),
            "CHATHUB_ISSUER": settings.public_url,
            "CHATHUB_JWKS_URL": self.key_set(),
            "CHATHUB_PUBLIC_URL": settings.public_url,
        }

    def base(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self.settings.data), "LC_ALL": "C.UTF-8", "PYTHONUNBUFFERED": "1"}

    def prefixed(self, prefix: str) -> dict[str, str]:
        platforms = {variable_name(PlatformSettings, (name,)) for name in PlatformSettings.model_fields}
        return {name: value for name, value in self.given.items() if name.startswith(prefix) and name not in platforms}

    def named(self, name: str) -> dict[str, str]:
        return {name: self.given[name]} if name in self.given else {}

    def key_set(self) -> str:
        return f"http://127.0.0.1:{self.settings.gateway_port}/.well-known/jwks.json"

    def trust_directory(self) -> Path:
        return self.settings.data / "natsync"

    def pocketbase_data(self) -> Path:
        return self.settings.data / "pocketbase" / "pb_data"

    def valkey_configuration(self) -> Path:
        return self.settings.data / "valkey" / "valkey.conf"

    def postgres_data(self) -> Path:
        return self.settings.data / "postgres"

    @staticmethod
    def python(service: str, verb: str) -> list[str]:
        return [sys.executable, "-m", service, verb]
