"""Node.js (the machine's own where it is new enough, else the wheel's) and the npm packages that the journeys run."""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".npm"
PACKAGES = {"pocketbase": "0.28.1", "eventsource": "4.1.0", "nats": "2.29.3", "@nats-io/jwt": "0.0.11"}
OLDEST_NODE = 20


def program(name: str) -> str:
    """`node` or `npm`."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
        if int(version.lstrip("v").split(".")[0]) >= OLDEST_NODE:
            return shutil.which(name) or name
    return str(Path(sys.executable).parent / name)


def environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(program('node')).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def installed(package: str) -> str | None:
    manifest = FOLDER / "node_modules" / package / "package.json"
    return json.loads(manifest.read_text())["version"] if manifest.exists() else None


def install() -> None:
    """Bring the pinned packages into the git-ignored folder; instant when they are there."""
    if all(installed(name) == version for name, version in PACKAGES.items()):
        return
    FOLDER.mkdir(exist_ok=True)
    wanted = [f"{name}@{version}" for name, version in PACKAGES.items()]
    options = ["--prefix", str(FOLDER), "--no-save", "--no-package-lock", "--silent"]
    command = [program("npm"), "install", *options, *wanted]
    subprocess.run(command, check=True, env=environment())


async def run(script: Path, *arguments: str, seconds: float = 60) -> str:
    """The script's standard output. Raises AssertionError with its error output when it fails."""
    child = await asyncio.create_subprocess_exec(
        program("node"),
        str(script),
        *arguments,
        env={**environment(), "POCKETWIRE_NPM": str(FOLDER)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            output, errors = await child.communicate()
    except TimeoutError:
        child.kill()
        raise AssertionError(f"{script.name} did not end within {seconds:g} s") from None
    if child.returncode != 0:
        raise AssertionError(f"{script.name} ended with {child.returncode}: {errors.decode()}{output.decode()}")
    return output.decode()
