"""Callers as FastAPI dependencies, and how a refusal is answered."""

from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from common.core.errors import Forbidden, Unauthenticated, UpstreamUnavailable
from common.core.identity import Identity
from common.serving.authentication import BearerIdentity, Caller, role
from common.serving.http_errors import install_error_handler

router = APIRouter()


class Names:
    """Believes whoever says a name, and tells admins by theirs."""

    async def verify(self, token: str) -> Identity:
        if token == "away":
            raise UpstreamUnavailable("The token's issuer does not answer.")
        if not token.isalpha():
            raise Unauthenticated('The token is "strange" \\ ünlikely.')
        roles = frozenset({"admin"} if token == "root" else set[str]())
        return Identity("https://id.example", token, token, "ChatClient", roles, None, 0, {})


@router.get("/me")
async def me(caller: Caller) -> dict[str, str]:
    return {"subject": caller.subject}


@router.get("/admin", dependencies=[Depends(role("admin"))])
async def admin() -> dict[str, str]:
    return {}


@router.get("/banned")
async def banned(caller: Caller) -> None:
    raise Forbidden(f"{caller.subject} is banned.")


others = BearerIdentity(lambda connection: connection.app.state.names)


@router.get("/other")
async def other(caller: Annotated[Identity, Depends(role("admin", others))]) -> dict[str, str]:
    return {"subject": caller.subject}


@router.websocket("/ws")
async def socket(websocket: WebSocket, caller: Caller) -> None:
    await websocket.accept()
    await websocket.send_text(caller.subject)
    await websocket.close()


def with_state(app: ASGIApp) -> ASGIApp:
    """As a server passes on what the lifespan has yielded."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "state": {"verifier": Names()}}, receive, send)

    return served


@pytest.fixture
def app() -> ASGIApp:
    application = FastAPI()
    application.state.names = Names()
    application.include_router(router)
    install_error_handler(application)
    return with_state(application)


async def answer(app: ASGIApp, path: str, *authorization: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        return await client.get(path, headers=[("Authorization", value) for value in authorization])


async def handshake(app: ASGIApp, *authorization: bytes) -> list[Message]:
    """What a server is told to answer to a WebSocket client."""
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"authorization", value) for value in authorization]
    scope = {"type": "websocket", "path": "/ws", "headers": headers, "query_string": b"", "subprotocols": []}
    await app({**scope, "extensions": {"websocket.http.response": {}}}, receive, send)
    return said


@pytest.mark.parametrize("header", ["Bearer ann", "bearer ann", "BEARER  ann", " bEaReR ann "])
async def test_the_bearer_of_a_token_is_the_caller_however_the_scheme_is_written(app: ASGIApp, header: str) -> None:
    assert (await answer(app, "/me", header)).json() == {"subject": "ann"}


async def test_without_a_token_one_is_asked_for(app: ASGIApp) -> None:
    refusal = await answer(app, "/me")
    assert (refusal.status_code, refusal.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert refusal.json() == {"code": "unauthenticated", "message": "This needs an access token."}


@pytest.mark.parametrize(
    "headers", [("Basic YW5uOg==",), ("Bearer",), ("Bearer ",), ("ann",), ("Bearer ann", "Bearer root")]
)
async def test_whatever_is_not_one_bearer_token_is_refused(app: ASGIApp, headers: tuple[str, ...]) -> None:
    refusal = await answer(app, "/me", *headers)
    assert refusal.status_code == 401
    assert refusal.headers["WWW-Authenticate"].startswith('Bearer error="invalid_token"')


async def test_a_bad_token_is_refused_with_its_reason_and_no_way_out_of_the_quotes(app: ASGIApp) -> None:
    refusal = await answer(app, "/me", "Bearer 7")
    assert refusal.headers["WWW-Authenticate"] == (
        'Bearer error="invalid_token", error_description="The token is strange  nlikely."'
    )


async def test_an_issuer_that_is_away_is_not_the_caller_s_fault(app: ASGIApp) -> None:
    refusal = await answer(app, "/me", "Bearer away")
    assert (refusal.status_code, refusal.headers.get("WWW-Authenticate")) == (503, None)


async def test_a_role_is_required_by_name(app: ASGIApp) -> None:
    assert (await answer(app, "/admin", "Bearer root")).status_code == 200
    refusal = await answer(app, "/admin", "Bearer ann")
    assert (refusal.status_code, refusal.json()["code"]) == (403, "forbidden")
    assert refusal.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope"'
    assert (await answer(app, "/admin")).status_code == 401


async def test_what_is_forbidden_for_another_reason_does_not_ask_for_another_token(app: ASGIApp) -> None:
    refusal = await answer(app, "/banned", "Bearer ann")
    assert (refusal.status_code, refusal.headers.get("WWW-Authenticate")) == (403, None)


async def test_a_service_may_say_where_its_verifier_is(app: ASGIApp) -> None:
    assert (await answer(app, "/other", "Bearer root")).json() == {"subject": "root"}
    assert (await answer(app, "/other", "Bearer ann")).status_code == 403


async def test_the_openapi_document_says_how_to_sign_in(app: ASGIApp) -> None:
    document = (await answer(app, "/openapi.json")).json()
    assert document["components"]["securitySchemes"]["Bearer"]["scheme"] == "bearer"
    assert document["paths"]["/me"]["get"]["security"] == [{"Bearer": []}]
    assert document["paths"]["/admin"]["get"]["security"] == [{"Bearer": []}]


async def test_a_websocket_handshake_is_treated_alike(app: ASGIApp) -> None:
    welcome = await handshake(app, b"Bearer ann")
    assert [message["type"] for message in welcome] == ["websocket.accept", "websocket.send", "websocket.close"]
    refusal = await handshake(app)
    assert (refusal[0]["type"], refusal[0]["status"]) == ("websocket.http.response.start", 401)
    assert (b"www-authenticate", b"Bearer") in refusal[0]["headers"]
