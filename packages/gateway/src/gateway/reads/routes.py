"""What operators may ask about kept answers, where `operator_routes` says who they are."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Protocol

from fastapi import APIRouter, Depends, Query, Request


class Explains(Protocol):
    async def explain(self, target: str, member: str) -> dict[str, Any]: ...


def operator_cache(gate: Callable[[Request], Awaitable[None]], explaining: Explains) -> APIRouter:
    router = APIRouter(prefix="/cache", dependencies=[Depends(gate)])

    @router.get("/explain")
    async def explain(
        path: Annotated[str, Query(max_length=4096)], principal: Annotated[str, Query(max_length=256)] = ""
    ) -> dict[str, Any]:
        return await explaining.explain(path, principal)

    return router
