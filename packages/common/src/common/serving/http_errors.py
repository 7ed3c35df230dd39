"""How a routed application answers a failure."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from common.core.errors import RateLimited, ServiceError, Unauthenticated
from common.core.identity import MissingRole, NoCredentials
from common.core.statuses import STATUS, status_of
from common.serving.rate_limit_headers import refusal_headers


def install_error_handler(app: FastAPI) -> None:
    """Every refusal of a routed application in one shape, the framework's own included."""
    app.add_exception_handler(ServiceError, to_response)
    app.add_exception_handler(HTTPException, from_framework)


async def to_response(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)  # noqa: S101 - the handler is installed for this type alone
    body = {"code": error.code, "message": str(error)}
    return JSONResponse(body, status_of(error), headers_of(error))


def headers_of(error: ServiceError) -> dict[str, str]:
    """What goes with a refusal: when to come again, or how to prove who one is (RFC 9110 §15.5.2, RFC 6750 §3)."""
    if isinstance(error, RateLimited):
        return refusal_headers(error)
    if isinstance(error, NoCredentials):
        return {"WWW-Authenticate": "Bearer"}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": f'Bearer error="invalid_token", error_description="{quotable(str(error))}"'}
    if isinstance(error, MissingRole):
        return {"WWW-Authenticate": 'Bearer error="insufficient_scope"'}
    return {}


def quotable(text: str) -> str:
    """Only what may stand in an error_description (RFC 6750 §3)."""
    return "".join(character for character in text if " " <= character <= "~" and character not in '"\\')


async def from_framework(_request: Request, error: Exception) -> JSONResponse:
    """What Starlette itself refuses: an unknown path, a wrong method, a body that is not JSON."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is installed for this type alone
    codes = {status: kind.code for kind, status in STATUS.items()}
    body = {"code": codes.get(error.status_code, "invalid_request"), "message": error.detail}
    return JSONResponse(body, error.status_code, error.headers)
