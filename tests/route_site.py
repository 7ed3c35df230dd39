"""A folder of routes and schemas of a test's own, and a gateway that serves it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from tests.servers.gateway import GatewayServer, gateway_server
from tests.servers.pocketbase import PocketBaseServer

IMPORTS = "from gateway.file_routes import *\nfrom pydantic import BaseModel, Field, RootModel\n"


def write_site(folder: Path, files: Mapping[str, str]) -> Path:
    """`files` by path from the folder on, as in `routes/posts/[id].py`; the imports come by themselves."""
    (folder / "routes").mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(IMPORTS + dedent(source))
    return folder


@contextmanager
def routed_gateway(
    pocketbase: PocketBaseServer, valkey_url: str, site: Path, changed: Mapping[str, str] | None = None
) -> Generator[GatewayServer]:
    settings = {"GATEWAY_ROUTES_FOLDER": str(site / "routes"), **(changed or {})}
    with gateway_server(pocketbase, valkey_url, settings) as running:
        yield running
