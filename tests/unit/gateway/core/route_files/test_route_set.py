from pathlib import PurePath
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.core.route_files.openapi import described, merged
from gateway.core.route_files.refusals import RouteFailed, RouteOverdue, RoutesNotLoaded
from gateway.core.route_files.report import report
from gateway.core.route_files.route_path import pattern_of
from gateway.core.route_files.route_set import Endpoint, Route, RouteSet, Step, check_apart
from gateway.core.route_files.schema_parts import Parts
from gateway.core.rule_files.rule_set import LoadFault, Place


async def answer(_ctx: Any, _db: Any) -> None: ...


def endpoint(method: Any = "GET", text: str = "", **parts: Any) -> Endpoint:
    return Endpoint(method, Step(method, Place("a.py", 1), answer, text), (), Parts(**parts))


def route(file: str, *methods: str) -> Route:
    endpoints = {method: endpoint(method) for method in methods or ("GET",)}
    return Route(pattern_of(PurePath(file)), file, endpoints)


def test_what_is_spelt_out_comes_before_parameters_whatever_the_order_of_files() -> None:
    files = ["[any]/[other].py", "[any]/b.py", "a/[other].py", "a/b.py", "index.py"]
    for listed in (files, files[::-1]):
        routes = RouteSet(tuple(route(file) for file in listed))
        for path, file in (
            (["a", "b"], "a/b.py"),
            (["a", "x"], "a/[other].py"),
            (["x", "b"], "[any]/b.py"),
            (["x", "y"], "[any]/[other].py"),
            ([""], "index.py"),
        ):
            found = routes.find(path)
            assert found is not None
            assert found.route.file == file


@pytest.mark.parametrize(
    "path", [["api", "x"], ["API", "x"], ["sessions", "x"], ["_", "x"], ["operator", "x"], ["auth", "oauth2"]]
)
def test_a_parameter_reaches_no_reserved_path(path: list[str]) -> None:
    assert RouteSet((route("[any]/[other].py"),)).find(path) is None


def test_two_routes_at_one_path_are_a_fault_of_the_second() -> None:
    [fault] = check_apart([route("a/[x].py"), route("a/[y]/index.py"), route("a/b.py")])
    assert fault.place.file == "a/[y]/index.py"
    assert "a/[x].py" in fault.reason


def test_a_route_says_which_methods_it_takes() -> None:
    assert route("a.py", "POST", "GET").allowed == "GET, POST, HEAD, OPTIONS"
    assert route("a.py", "DELETE").allowed == "DELETE, OPTIONS"


def test_faults_may_lie_in_every_file_that_an_endpoint_runs() -> None:
    step = Step("middleware", Place("m.py", 3), answer)
    own = Endpoint("GET", Step("GET", Place("a.py", 1), answer), (step,), Parts("s.py"))
    assert own.files == {"a.py", "m.py", "s.py"}
    assert endpoint().files == {"a.py"}


def test_a_document_takes_what_the_gateway_says_of_itself_along() -> None:
    told = described([Route(pattern_of(PurePath("a-b/[id].py")), "x", {"GET": endpoint(text="Short.\n\nLong.")})])
    operation = told["paths"]["/a-b/{id}"]["get"]
    assert operation["operationId"] == "get_a_b_id"
    assert (operation["summary"], operation["description"]) == ("Short.", "Long.")
    own: dict[str, Any] = {"openapi": "3.1.0", "paths": {"/healthz": {}}, "components": {"schemas": {"Own": {}}}}
    both = merged(own, told)
    assert set(both["paths"]) == {"/healthz", "/a-b/{id}"}
    assert set(both["components"]["schemas"]) == {"Own", "Error"}
    assert merged(own, {}) == own


def test_the_operator_sees_routes_grants_and_faults() -> None:
    fault = LoadFault(Place("b.py", 2), "no")
    told = report(RouteSet((route("a.py", "GET", "POST"),), (fault,)), [], frozenset({"/a"}))
    assert told["routes"] == [{"path": "/a", "file": "a.py", "methods": ["GET", "POST"], "as_service": True}]
    assert told["faults"] == [{"file": "b.py", "line": 2, "reason": "no"}]
    assert told["failures"] == []


class Item(BaseModel):
    name: str


class Body(BaseModel):
    items: list[Item]


class Query(BaseModel):
    page: int = 1
    sort_by: str


def test_models_are_described_under_their_operations_own_names() -> None:
    both = {
        "POST": endpoint("POST", body=Body, query=Query),
        "PUT": endpoint("PUT", body=Body, headers=Query),
    }
    told = described([Route(pattern_of(PurePath("a.py")), "x", both)])
    post, put = told["paths"]["/a"]["post"], told["paths"]["/a"]["put"]
    assert post["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/post_a.Body"}
    assert [(one["name"], one["in"], one["required"]) for one in post["parameters"]] == [
        ("page", "query", False),
        ("sort_by", "query", True),
    ]
    assert [(one["name"], one["in"]) for one in put["parameters"]] == [("page", "header"), ("sort-by", "header")]
    schemas = told["components"]["schemas"]
    assert {"post_a.Body", "post_a.Item", "put_a.Body", "put_a.Item"} <= schemas.keys()
    assert schemas["post_a.Body"]["properties"]["items"]["items"] == {"$ref": "#/components/schemas/post_a.Item"}


def test_no_two_operations_have_one_name() -> None:
    class Body(BaseModel):
        title: str

    files = ("posts/[id].py", "posts/id.py", "a-b.py", "a_b.py", "a.b.py")
    routes = [Route(pattern_of(PurePath(file)), file, {"POST": endpoint("POST", body=Body)}) for file in files]
    told = described(routes)
    ids = [operation["operationId"] for path in told["paths"].values() for operation in path.values()]
    assert ids == ["post_posts_id", "post_posts_id_2", "post_a_b", "post_a_b_2", "post_a_b_3"]
    assert {f"{id}.Body" for id in ids} <= told["components"]["schemas"].keys()


def test_a_path_of_another_length_is_nobodys() -> None:
    routes = RouteSet((route("a/b.py"), route("a/c.py")))
    assert routes.find(["a"]) is None
    assert routes.find(["a", "x"]) is None


def test_refusals_of_routes_say_nothing_of_why() -> None:
    told = [str(error) for error in (RouteFailed(), RouteOverdue(), RoutesNotLoaded())]
    assert told[0] == "Something went wrong while processing your request."
    assert all(text.endswith(("retry.", "later.")) for text in told[1:])
