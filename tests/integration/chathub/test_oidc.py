"""Users of a real OpenID Connect provider, with the claims of Keycloak, and the realm that goes with the repository."""

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import InvalidStatus

from chathub.settings import Settings
from tests.chat_client import chatting
from tests.servers import chathub
from tests.servers.chathub import Chathub
from tests.servers.node import REPOSITORY
from tests.servers.realm import Realm, realm

REALM = REPOSITORY / "infra" / "keycloak" / "Chatserver-realm.json"


@pytest.fixture(scope="module")
def provider() -> Generator[Realm]:
    with realm() as running:
        yield running


@pytest.fixture(scope="module")
def node(environment: dict[str, str], provider: Realm, tmp_path_factory: pytest.TempPathFactory) -> Generator[Chathub]:
    given = {**environment, "CHATHUB_OIDC_ISSUERS": provider.issuer, "CHATHUB_AUTH_URL": f"{provider.issuer}/auth"}
    with chathub.chathub(tmp_path_factory.mktemp("oidc") / "log", given) as running:
        chathub.wait_until_ready(running)
        yield running


async def status(node: Chathub, token: str, path: str = "/channels") -> int:
    async with httpx.AsyncClient(base_url=node.http, trust_env=False) as http:
        return (await http.get(path, headers={"Authorization": f"Bearer {token}"})).status_code


async def test_users_of_the_provider_chat_under_the_names_in_their_tokens(node: Chathub, provider: Realm) -> None:
    ann, bob = await provider.sign_in("ann"), await provider.sign_in("bob")
    async with chatting(node.ws, ann.access_token) as first, chatting(node.ws, bob.access_token) as second:
        await first.say("hello from the realm")
        heard = await second.hear("hello from the realm")
        assert (heard["owner_id"], heard["username"]) == ("ann", "ann")


async def test_a_renewed_token_goes_in_over_the_socket(node: Chathub, provider: Realm) -> None:
    known = await provider.sign_in("cleo")
    async with chatting(node.ws, known.access_token) as cleo:
        newer = await provider.refresh(known)
        await cleo.send(type="refresh", token=newer.access_token)
        assert (await cleo.until("refreshed"))["expires_at"] > 0


async def test_the_role_admin_is_read_from_the_realm_access_of_the_token(node: Chathub, provider: Realm) -> None:
    boss, ann = await provider.sign_in("boss", "WebClient"), await provider.sign_in("ann")
    assert await status(node, boss.access_token, "/users/bans") == 200
    assert await status(node, ann.access_token, "/users/bans") == 403
    async with chatting(node.ws, boss.access_token) as dashboard:
        users = await dashboard.until("connected_users")
        assert "boss" not in [user["id"] for user in users["users"]]


async def test_who_is_no_admin_opens_no_dashboard(node: Chathub, provider: Realm) -> None:
    ann = await provider.sign_in("ann", "WebClient")
    with pytest.raises(InvalidStatus) as refused:
        async with chatting(node.ws, ann.access_token):
            pass
    assert refused.value.response.status_code == 403


async def test_other_tokens_of_the_same_provider_are_refused(node: Chathub, provider: Realm) -> None:
    ann = await provider.sign_in("ann")
    stranger = await provider.sign_in("ann", "Stranger")
    others = [ann.id_token, ann.refresh_token, stranger.access_token, f"{ann.access_token[:-4]}AAAA"]
    assert [await status(node, token) for token in others] == [401] * 4


async def test_clients_are_told_where_to_sign_in(node: Chathub, provider: Realm) -> None:
    async with httpx.AsyncClient(base_url=node.http, trust_env=False) as http:
        assert (await http.get("/discovery")).json()["auth_url"] == f"{provider.issuer}/auth"


def exported() -> dict[str, Any]:
    return json.loads(Path(REALM).read_text())


def test_the_realm_has_what_chathub_asks_for() -> None:
    known = {name: field.default for name, field in Settings.model_fields.items()}
    clients = {client["clientId"]: client for client in exported()["clients"]}
    assert set(clients) == set(known["client_ids"])
    for client in clients.values():
        assert client["publicClient"]
        assert not client["directAccessGrantsEnabled"]
        assert client["attributes"]["pkce.code.challenge.method"] == "S256"
        [mapper] = client["protocolMappers"]
        assert mapper["protocolMapper"] == "oidc-audience-mapper"
        assert mapper["config"]["included.custom.audience"] == known["oidc_audience"]
        assert mapper["config"]["access.token.claim"] == "true"
    assert [role["name"] for role in exported()["roles"]["realm"]] == ["admin"]


def test_the_realm_leaves_keycloaks_own_scopes_and_no_secret_behind() -> None:
    assert not {"clientScopes", "defaultDefaultClientScopes"} & set(exported())
    [admin] = exported()["users"]
    assert admin["credentials"] == [{"type": "password", "value": "${CHAT_ADMIN_PASSWORD}", "temporary": True}]
