"""Settings come from the environment and from gateway.toml, old ones are named, and a project can be begun."""

import os
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from common.serving.settings import load
from gateway.__main__ import command
from gateway.settings import Settings
from gateway.start_project import start_project
from tests.servers.gateway import gateway_server, signed_up
from tests.servers.pocketbase import PocketBaseServer


def run(*arguments: str, cwd: Path, changed: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **(changed or {})}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("begun") / "project"
    begun = run("gateway", "init", str(folder), cwd=folder.parent)
    assert begun.returncode == 0, begun.stderr
    return folder


def test_a_project_that_is_begun_passes_its_own_tests(project: Path) -> None:
    assert run("gateway", "check", cwd=project).returncode == 0
    tested = run("pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=project)
    assert tested.returncode == 0, tested.stdout
    assert "3 passed" in tested.stdout


def test_what_is_secret_is_for_the_owner_alone_and_never_the_same_twice(project: Path, tmp_path: Path) -> None:
    env_file = project / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    assert ".env" in (project / ".gitignore").read_text()
    run("gateway", "init", str(tmp_path), cwd=tmp_path)
    assert not set(env_file.read_text().splitlines()[2:]) & set((tmp_path / ".env").read_text().splitlines()[2:])


def test_a_project_is_not_begun_over_another(project: Path) -> None:
    before = (project / ".env").read_text()
    again = run("gateway", "init", str(project), cwd=project)
    assert again.returncode == 2
    assert "gateway.toml" in again.stderr
    assert (project / ".env").read_text() == before


async def test_a_project_that_is_begun_runs(
    project: Path, guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> None:
    changed = {"GATEWAY_CONFIG": str(project / "gateway.toml")}
    with gateway_server(guarded, valkey_url, changed) as running:
        async with httpx.AsyncClient(base_url=running.url, timeout=20) as web:
            assert (await web.get("/hello")).text == "Hello, stranger."
            user = await signed_up(web, name="Ann")
            greeted = await web.get("/hello", headers=user.headers)
            assert greeted.json() == {"greeting": "Hello, Ann."}
            assert (await web.post("/hello", json={"name": "Bob"})).json() == {"greeting": "Hello, Bob."}
            refused = await web.post("/hello", json={"name": "B"})
            assert refused.json()["data"]["name"]["code"] == "validation_string_too_short"
            rename = f"/api/collections/users/records/{user.id}"
            posing = await web.patch(rename, json={"name": "Admin"}, headers=user.headers)
            assert posing.json()["data"]["name"]["code"] == "validation_reserved"
            assert "/hello" in (await web.get("/openapi.json")).json()["paths"]


def test_the_environment_comes_before_the_file(project: Path) -> None:
    (project / "other.toml").write_text('port = "http"\nissuer = "http://localhost"\n')
    other = {"GATEWAY_CONFIG": str(project / "other.toml")}
    wrong = CliRunner().invoke(command, ["check"], env=other)
    assert (wrong.exit_code, "GATEWAY_PORT" in wrong.stderr) == (2, True)
    assert run("gateway", "check", cwd=project, changed={**other, "GATEWAY_PORT": "1"}).returncode == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prot = 1", "unknown settings: prot"),
        ("DB_URL = 'x'", "DB_URL of Hapta is not read; set POCKETBASE_URL."),
        ("Clover_Secret = 'x'", "set GATEWAY_IDENTITY_SECRET"),
        ("port = ", "Invalid value"),
        ("port = 'http'", "GATEWAY_PORT"),
    ],
)
def test_a_file_that_does_not_fit_stops_the_start_and_says_why(project: Path, text: str, told: str) -> None:
    (project / "wrong.toml").write_text(text)
    ended = CliRunner().invoke(command, ["serve"], env={"GATEWAY_CONFIG": str(project / "wrong.toml")})
    assert ended.exit_code == 2
    assert told in ended.stderr


def test_old_keys_in_the_environment_are_named_with_what_replaces_them(
    guarded: PocketBaseServer, superuser_token: str, valkey_url: str
) -> None:
    old = {"DB_URL": "http://x", "JWT_SECRET": "hunter2", "Clover_Tenant_ID": "t", "SSL_ENABLED": "true"}
    with gateway_server(guarded, valkey_url, old) as running:
        log = running.log.read_text()
    for name, new in (
        ("DB_URL", "POCKETBASE_URL"),
        ("JWT_SECRET", "GATEWAY_SIGNING_KEY"),
        ("Clover_Tenant_ID", "GATEWAY_IDENTITY_TENANT_ID"),
        ("SSL_ENABLED", "DOMAIN"),
    ):
        assert f"{name} of Hapta is not read; set {new}." in log
    assert "hunter2" not in log


def test_the_env_file_of_hapta_is_no_obstacle_and_its_keys_are_named(project: Path) -> None:
    env_file, config = project / ".env", (project / "gateway.toml").read_text()
    hapta = "DB_URL=\nADMIN_EMAIL=\nADMIN_PASSWORD=hunter2\nHAPTA_ADMIN_KEY=hunter2hunter2hunter2\nSSL_ENABLED=true\n"
    moved = project.parent / "moved"
    moved.mkdir()
    (moved / ".env").write_text(env_file.read_text() + hapta)
    (moved / "gateway.toml").write_text(config.replace('_folder = "', f'_folder = "{project}/'))
    checked = run("gateway", "check", cwd=moved)
    assert checked.returncode == 0, checked.stderr
    assert checked.stderr.count(" of Hapta is not read; set ") == 4
    assert "HAPTA_ADMIN_KEY of Hapta is still read" in checked.stderr
    assert "hunter2" not in checked.stderr


@pytest.mark.parametrize("password", ["it's", "a\\b", "a\\'", "${HOME}", 'a "b" #c', " "])
def test_any_password_is_read_as_it_was_given(tmp_path: Path, password: str) -> None:
    start_project(tmp_path, email="a@example.com", password=password)
    assert load(Settings, tmp_path / "gateway.toml").pocketbase_password.get_secret_value() == password
