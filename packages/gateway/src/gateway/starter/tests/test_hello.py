"""Routes and rules are plain functions: a context made by hand is all that they need."""

import asyncio
import runpy
from pathlib import Path
from typing import Any

import pytest

from gateway.file_routes import Asker, Context, Database
from gateway.rules import Context as RuleContext
from gateway.rules import FieldError, Write

ROOT = Path(__file__).parents[1]


class Users:
    """Stands in for PocketBase."""

    async def call(self, call: Any) -> Any:
        assert (call.action, call.collection) == ("view", "users")
        return {"id": call.record_id, "name": "Ann"}


def route(method: str, ctx: Context) -> Any:
    function: Any = runpy.run_path(str(ROOT / "routes" / "hello" / "index.py"))[method]
    return asyncio.run(function(ctx, Database(Users())))


def test_a_user_is_greeted_by_name() -> None:
    ctx = Context(principal=Asker(id="ann", collection="users"))
    assert route("GET", ctx).json() == {"greeting": "Hello, Ann."}


def test_a_guest_is_a_stranger() -> None:
    assert route("GET", Context()).text() == "Hello, stranger."


def test_nobody_poses_as_staff() -> None:
    rule: Any = runpy.run_path(str(ROOT / "rules" / "users.py"))["nobody_poses_as_staff"]
    with pytest.raises(FieldError):
        rule(RuleContext(Write("create", "users", fields={"name": "Admin"})))
    rule(RuleContext(Write("create", "users", fields={"name": "Ann"})))
