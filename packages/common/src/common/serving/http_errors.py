"""How a routed application answers a failure."""

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from common.core.errors import RateLimited, ServiceError
from common.core.statuses import STATUS, status_of


def install_error_handler(app: FastAPI) -> None:
    """Every refusal of a routed application in one shape, the framework's own included."""
    app.add_exception_handler(ServiceError, to_response)
    app.add_exception_handler(HTTPException, from_framework)


async def to_response(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ServiceError)  # noqa: S101 - the handler is installed for this type alone
    headers = {"Retry-After": str(error.retry_seconds)} if isinstance(error, RateLimited) else None
    body = {"code": error.code, "message": str(error)}
    return JSONResponse(body, status_of(error), headers)


async def from_framework(_request: Request, error: Exception) -> JSONResponse:
    """What Starlette itself refuses: an unknown path, a wrong method, a body that is not JSON."""
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is installed for this type alone
    codes = {status: kind.code for kind, status in STATUS.items()}
    body = {"code": codes.get(error.status_code, "invalid_request"), "message": error.detail}
    return JSONResponse(body, error.status_code, error.headers)
