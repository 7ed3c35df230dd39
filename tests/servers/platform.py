"""The whole platform, started as people start it, in a home of its own on free ports."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from infra.embedded import settings, status
from infra.embedded.settings import PlatformSettings
from infra.embedded.status import PartStatus
from tests.journeys.demo import address_of
from tests.journeys.journey import Address
from tests.servers.process import directory, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
PORTS = [name for name in PlatformSettings.model_fields if name.endswith("_port")]
COMMAND_SECONDS = 120


def own_environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's own platform: another home, other ports, no inherited addresses or secrets."""
    chosen: set[int] = set()
    while len(chosen) < len(PORTS):
        chosen.add(free_port())
    ports = {f"POCKETWIRE_{name.upper()}": str(number) for name, number in zip(PORTS, chosen, strict=True)}
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "POCKETWIRE_HOME": str(home), **ports}


@dataclass(frozen=True, slots=True)
class Home:
    """A folder for one platform, running or not."""

    folder: Path
    environment: dict[str, str] = field(repr=False)

    @property
    def data(self) -> Path:
        return self.folder / ".data"

    @property
    def settings(self) -> PlatformSettings:
        return settings.load(self.environment)

    @property
    def address(self) -> Address:
        return address_of(self.settings)

    def command(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "infra.embedded", *words],
            cwd=REPOSITORY,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )

    async def run(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(lambda: self.command(*words, **more))

    def parts(self) -> dict[str, PartStatus]:
        return {part.name: part for part in status.read(self.data).parts}

    def is_green(self) -> bool:
        return status.all_green(self.parts().values())

    def is_running(self) -> bool:
        return status.running_pid(self.data) is not None


@contextmanager
def empty_home(**more: str) -> Generator[Home]:
    with directory() as folder:
        home = Home(folder, {**own_environment(folder), **more})
        try:
            yield home
        finally:
            if home.is_running():
                home.command("down")


@dataclass(frozen=True, slots=True)
class RunningPlatform:
    home: Home
    output: str

    @property
    def start_seconds(self) -> float:
        found = re.search(r"green after ([0-9.]+) s", self.output)
        assert found, self.output
        return float(found[1])


@contextmanager
def platform() -> Generator[RunningPlatform]:
    with empty_home() as home:
        up = home.command("up", "--detach")
        assert up.returncode == 0, up.stdout + up.stderr + logs_of(home)
        yield RunningPlatform(home, up.stdout)


def logs_of(home: Home) -> str:
    return "".join(
        f"\n--- {file.name}\n{file.read_text(errors='replace')[-1500:]}" for file in (home.data / "logs").glob("*.log")
    )
