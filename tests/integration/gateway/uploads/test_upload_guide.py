"""The snippets of docs/how-to/upload-large-files.md run as they stand."""

import ast
import inspect
import re
import secrets
from pathlib import Path
from types import CodeType
from typing import Any

import httpx

from tests.servers.gateway import GatewayServer, User
from tests.upload_client import PATH

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "upload-large-files.md"
SNIPPETS = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", PAGE.read_text(), re.DOTALL))


def awaiting(source: str) -> CodeType:
    return compile(source, PAGE.name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)


async def test_a_file_goes_up_in_two_parts_as_the_page_says(
    uploading: GatewayServer, client: httpx.AsyncClient, ann: User, tmp_path: Path
) -> None:
    data = secrets.token_bytes(1_500_000)
    path = tmp_path / "paper.bin"
    path.write_bytes(data)
    known: dict[str, Any] = {
        "url": uploading.url.replace("http:", "ws:") + PATH,
        "token": ann.token,
        "path": path,
        "owner": ann.id,
        "print": print,
    }
    exec(SNIPPETS["upload.py"], known)
    running = eval(awaiting(SNIPPETS["use.py"]), known)
    assert inspect.isawaitable(running)
    await running
    assert known["first"]["offset"] == 0
    record = known["done"]["record"]
    stored = await client.get(f"/api/files/papers/{record['id']}/{record['large']}")
    assert stored.content == data
