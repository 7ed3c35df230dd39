"""The peers that run as processes of their own, each set up as somebody who wants it fast would."""

import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

from bench.programs import NGINX, TRAEFIK
from tests.servers.process import free_port, server

WORKERS = 2
REPOSITORY = Path(__file__).resolve().parents[2]
NOT_OF_THE_APPLICATION = frozenset(("date", "server", "connection", "transfer-encoding"))

NGINX_CONFIGURATION = """
user root;
worker_processes {workers};
pid {home}/nginx.pid;
error_log {home}/error.log error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  proxy_cache_path {home}/cache levels=1:2 keys_zone=answers:10m max_size=100m inactive=10m use_temp_path=off;
  upstream pocketbase {{ server 127.0.0.1:{upstream}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://pocketbase;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_cache answers;
      proxy_cache_key "$request_uri $http_authorization";
      proxy_cache_valid 200 10m;
    }}
  }}
}}
"""

TRAEFIK_ROUTES = """
http:
  routers: {{ all: {{ rule: "PathPrefix(`/`)", service: pocketbase }} }}
  services: {{ pocketbase: {{ loadBalancer: {{ servers: [ {{ url: "http://127.0.0.1:{upstream}" }} ] }} }} }}
"""


@contextmanager
def nginx_server(home: Path, upstream: int) -> Generator[tuple[str, int]]:
    """`proxy_cache` by address and token, with nobody asking who that is. Yields its address and process id."""
    port = free_port()
    configuration = home / "nginx.conf"
    configuration.write_text(NGINX_CONFIGURATION.format(home=home, port=port, upstream=upstream, workers=WORKERS))
    command = [NGINX.path(), "-p", home, "-c", configuration, "-g", "daemon off;"]
    with server(command, port=port, log=home / "nginx.log") as process:
        yield f"http://127.0.0.1:{port}", process.pid


@contextmanager
def traefik_server(home: Path, upstream: int) -> Generator[tuple[str, int]]:
    port = free_port()
    routes = home / "traefik.yaml"
    routes.write_text(TRAEFIK_ROUTES.format(upstream=upstream))
    command = [
        TRAEFIK.path(),
        f"--entrypoints.web.address=127.0.0.1:{port}",
        f"--providers.file.filename={routes}",
        "--log.level=ERROR",
        "--global.checknewversion=false",
        "--global.sendanonymoususage=false",
    ]
    with server(command, port=port, log=home / "traefik.log") as process:
        yield f"http://127.0.0.1:{port}", process.pid


@contextmanager
def bare_server(home: Path, answer: httpx.Response, *, is_watched: bool = False) -> Generator[tuple[str, int]]:
    """The same bytes from uvicorn with nothing behind it: in as many processes as the gateway has, or in one whose
    event loop is watched."""
    port = free_port()
    kept = home / "answer.json"
    headers = [(name, value) for name, value in answer.headers.items() if name not in NOT_OF_THE_APPLICATION]
    kept.write_text(json.dumps({"status": answer.status_code, "headers": headers, "body": answer.text}))
    quiet = ["--no-access-log", "--no-server-header", "--log-level=error"]
    bare = ["uvicorn", "bench.gateway.bare_app:app", f"--port={port}", f"--workers={WORKERS}", *quiet]
    command = [sys.executable, "-m", *(["bench.gateway.lagging", "bare", str(port)] if is_watched else bare)]
    environment = {"ANSWER": str(kept), "PYTHONPATH": str(REPOSITORY)}
    with server(command, port=port, log=home / "bare.log", environment=environment) as process:
        yield f"http://127.0.0.1:{port}", process.pid
