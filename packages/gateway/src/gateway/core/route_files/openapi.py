"""The routes as OpenAPI 3.1 describes them."""

from collections.abc import Iterable, Mapping
from itertools import chain, count
from typing import Any

from pydantic import BaseModel

from gateway.core.route_files.route_set import Endpoint, Route

ERROR = {"$ref": "#/components/schemas/Error"}
ERROR_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"},
        "message": {"type": "string"},
        "data": {
            "type": "object",
            "additionalProperties": {
                "type": "object",
                "properties": {"code": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}


def described(routes: Iterable[Route]) -> dict[str, Any]:
    """`paths` and `components`. Raises what pydantic does for a model that JSON Schema has no words for."""
    schemas: dict[str, Any] = {"Error": ERROR_SCHEMA}
    paths: dict[str, dict[str, Any]] = {}
    ids: set[str] = set()
    for route in routes:
        for method, endpoint in route.endpoints.items():
            id = unlike(ids, operation_id(route, endpoint))
            paths.setdefault(route.pattern.template, {})[method.lower()] = operation(route, endpoint, id, schemas)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    return {"paths": paths, "components": {"schemas": schemas, "securitySchemes": {"session": bearer}}}


def operation(route: Route, endpoint: Endpoint, id: str, schemas: dict[str, Any]) -> dict[str, Any]:
    summary, _, description = endpoint.function.text.partition("\n")
    told: dict[str, Any] = {
        "operationId": id,
        "tags": ["routes"],
        "parameters": [*path_parameters(route), *given(endpoint, id, schemas)],
        "responses": {"200": {"description": "The route's answer."}, "default": refusal()},
        "security": [{}, {"session": []}],
    }
    if summary:
        told["summary"] = summary
    if description.strip():
        told["description"] = description.strip()
    if endpoint.parts.body:
        schema = reference(endpoint.parts.body, id, schemas)
        told["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return told


def operation_id(route: Route, endpoint: Endpoint) -> str:
    words = [part.strip("[]") for part in route.pattern.segments]
    return "_".join([endpoint.method.lower(), *(word.replace("-", "_").replace(".", "_") for word in words)])


def unlike(taken: set[str], wanted: str) -> str:
    """The name, or the first with a number behind it that is none of those; it is one of them from now on."""
    numbered = (f"{wanted}_{number}" for number in count(2))
    free = next(name for name in chain([wanted], numbered) if name not in taken)
    taken.add(free)
    return free


def refusal() -> dict[str, Any]:
    return {"description": "A refusal, in PocketBase's shape.", "content": {"application/json": {"schema": ERROR}}}


def path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in route.pattern.parameters
    ]


def given(endpoint: Endpoint, id: str, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    parts = (("query", endpoint.parts.query), ("header", endpoint.parts.headers))
    return [parameter for place, model in parts if model for parameter in parameters(model, place, id, schemas)]


def parameters(model: type[BaseModel], place: str, id: str, schemas: dict[str, Any]) -> list[dict[str, Any]]:
    schema = schema_of(model, id, schemas)
    required: list[str] = schema.get("required", [])
    return [
        {
            "name": name.replace("_", "-") if place == "header" else name,
            "in": place,
            "required": name in required,
            "schema": field,
        }
        for name, field in schema.get("properties", {}).items()
    ]


def reference(model: type[BaseModel], id: str, schemas: dict[str, Any]) -> dict[str, Any]:
    name = f"{id}.{model.__name__}"
    schemas[name] = schema_of(model, id, schemas)
    return {"$ref": f"#/components/schemas/{name}"}


def schema_of(model: type[BaseModel], id: str, schemas: dict[str, Any]) -> dict[str, Any]:
    """Models inside it are named after the operation too: two files may each have an `Item`."""
    schema = model.model_json_schema(ref_template=f"#/components/schemas/{id}.{{model}}")
    for name, inner in schema.pop("$defs", {}).items():
        schemas[f"{id}.{name}"] = inner
    return schema


def merged(own: Mapping[str, Any], routes: Mapping[str, Any]) -> dict[str, Any]:
    """The gateway's own document with the routes in it."""
    components: dict[str, Any] = dict(own.get("components", {}))
    for kind, named in routes.get("components", {}).items():
        components[kind] = {**components.get(kind, {}), **named}
    return {**own, "paths": {**own.get("paths", {}), **routes.get("paths", {})}, "components": components}
