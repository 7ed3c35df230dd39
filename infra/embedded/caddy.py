"""Caddy's environment for development and for production; the Caddyfile is the same."""

from pathlib import Path

from infra.embedded.repository import REPOSITORY
from infra.embedded.settings import PlatformSettings

CADDYFILE = REPOSITORY / "infra" / "caddy" / "Caddyfile"


def environment(settings: PlatformSettings) -> dict[str, str]:
    return {
        **(production(settings.domain) if settings.domain else development(settings)),
        "POCKETWIRE_CADDY_STORE": str(store(settings.data)),
        "POCKETWIRE_CADDY_GATEWAY": f"127.0.0.1:{settings.gateway_port}",
        "POCKETWIRE_CADDY_NATSYNC": f"127.0.0.1:{settings.natsync_port}",
        "POCKETWIRE_CADDY_CHATHUB": f"127.0.0.1:{settings.chathub_port}",
        "POCKETWIRE_CADDY_NATS_WEBSOCKET": f"127.0.0.1:{settings.nats_websocket_port}",
        "HOME": str(store(settings.data)),
    }


def development(settings: PlatformSettings) -> dict[str, str]:
    return {
        "POCKETWIRE_CADDY_MODE": "development",
        "POCKETWIRE_CADDY_HTTP_PORT": str(settings.http_port),
        "POCKETWIRE_CADDY_HTTPS_PORT": str(settings.https_port),
    }


def production(domain: str) -> dict[str, str]:
    """HTTPS alone; plain HTTP answers certificate challenges and redirects."""
    return {
        "POCKETWIRE_CADDY_MODE": "production",
        "POCKETWIRE_CADDY_AUTO_HTTPS": "ignore_loaded_certs",
        "POCKETWIRE_CADDY_HTTP_PORT": "80",
        "POCKETWIRE_CADDY_HTTPS_PORT": "443",
        "DOMAIN": domain,
    }


def store(data: Path) -> Path:
    return data / "caddy"
