"""What the gateway answers itself: its keys, its discovery document, and how the platform is."""

from dataclasses import dataclass
from typing import Any, Protocol, cast

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.exceptions import HTTPException

from common.core.errors import ServiceError
from gateway.core.front_door.pocketbase_route import nothing_for
from gateway.core.health_report import as_text, is_healthy, public
from gateway.core.refusal_answer import body_of, headers_of, shape, status_of
from gateway.core.route_files.openapi import merged
from gateway.core.route_files.route_set import RouteSet
from gateway.report_health import HealthReport

KEYS_MAX_AGE = {"cache-control": "public, max-age=300"}

OPENAPI_VERSION = "1"

router = APIRouter()


class Routes(Protocol):
    @property
    def current(self) -> RouteSet: ...


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the routes need, by role."""

    issuer: str
    public_jwk: dict[str, str]
    health: HealthReport
    file_routes: Routes


def gateway_of(request: Request) -> Gateway:
    return cast(Gateway, request.state.gateway)


@router.get("/.well-known/jwks.json")
async def keys(request: Request) -> JSONResponse:
    return JSONResponse({"keys": [gateway_of(request).public_jwk]}, headers=KEYS_MAX_AGE)


@router.get("/.well-known/openid-configuration")
async def discovery(request: Request) -> JSONResponse:
    return JSONResponse(discovery_document(gateway_of(request).issuer), headers=KEYS_MAX_AGE)


def discovery_document(issuer: str) -> dict[str, Any]:
    """Enough for a verifier of tokens; users sign in by PocketBase's own calls, not by OpenID Connect's."""
    return {
        "issuer": issuer,
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "id_token_signing_alg_values_supported": ["ES256"],
        "subject_types_supported": ["public"],
        "response_types_supported": ["token"],
        "claims_supported": [
            *(
                "iss",
                "aud",
                "exp",
                "iat",
                "nbf",
                "jti",
                "sub",
                "sid",
                "gen",
                "azp",
                "preferred_username",
                "realm_access",
            ),
            *("id", "type", "collectionId", "collectionName", "refreshable"),
        ],
    }


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request) -> JSONResponse:
    """The gateway's own calls and the operator's routes; PocketBase documents its own."""
    app = cast(FastAPI, request.app)
    own = get_openapi(title=app.title, version=OPENAPI_VERSION, routes=app.routes)
    return JSONResponse(merged(own, gateway_of(request).file_routes.current.openapi))


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz(request: Request) -> Response:
    """Always 200 while the gateway serves; the lines tell of the rest."""
    states = public(await gateway_of(request).health.results())
    return health_answer(request, states, 200)


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> Response:
    states = public(await gateway_of(request).health.results())
    return health_answer(request, states, 200 if is_healthy(states) else 503)


def health_answer(request: Request, states: dict[str, str], status: int) -> Response:
    headers = {"cache-control": "no-store"}
    if "application/json" in request.headers.get("accept", ""):
        body = {"status": "ok" if is_healthy(states) else "waiting", "parts": states}
        return JSONResponse(body, status, headers)
    return PlainTextResponse(as_text(states), status, headers)


def install_refusals(app: FastAPI) -> None:
    app.add_exception_handler(HTTPException, to_refusal)
    app.add_exception_handler(ServiceError, to_answer)
    app.add_exception_handler(RequestValidationError, to_named_parameters)


async def to_refusal(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods alike are refused as PocketBase refuses them."""
    status = cast(HTTPException, error).status_code
    if status in (404, 405):
        return JSONResponse(shape(404, nothing_for(request.method)), 404)
    return JSONResponse(shape(status, ""), status)


async def to_named_parameters(_request: Request, error: Exception) -> JSONResponse:
    """Names what was wrong and repeats no value."""
    names = sorted({str(fault["loc"][-1]) for fault in cast(RequestValidationError, error).errors()})
    return JSONResponse(shape(400, f"Missing or malformed: {', '.join(names)}."), 400)


async def to_answer(_request: Request, error: Exception) -> Response:
    failure = cast(ServiceError, error)
    body = body_of(failure)
    answer = Response(body, status_of(failure))
    answer.raw_headers = headers_of(failure, body)
    return answer
