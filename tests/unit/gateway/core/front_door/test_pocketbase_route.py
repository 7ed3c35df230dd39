"""Nothing but the listed routes is ever forwarded, however a path is written."""

import posixpath
import re
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from common.core.errors import Forbidden, NotFound, ServiceError
from gateway.core.front_door.pocketbase_route import Route, find
from gateway.core.front_door.request_path import segments_of
from gateway.core.refusals import MalformedPath

SEGMENT = r"(?!\.{1,2}(?:/|$))(?:[A-Za-z0-9_.~-]|%(?!2F|5C|00|0[0-9A-F]|1[0-9A-F]|7F)[0-9A-F]{2})+"
ALLOWED = re.compile(
    "(?:GET|HEAD) /api/health"
    "|(?:GET|POST) /api/(?:realtime|oauth2-redirect)"
    "|POST /api/files/token"
    f"|(?:GET|HEAD) /api/files/{SEGMENT}/{SEGMENT}/{SEGMENT}"
    f"|(?:GET|POST) /api/collections/{SEGMENT}/records"
    f"|(?:GET|PATCH|DELETE) /api/collections/{SEGMENT}/records/{SEGMENT}"
    f"|GET /api/collections/{SEGMENT}/auth-methods"
    f"|POST /api/collections/{SEGMENT}/(?:auth-refresh|auth-with-password|auth-with-oauth2|auth-with-otp|request-otp"
    "|(?:request|confirm)-(?:password-reset|verification|email-change))"
)

words = st.sampled_from(
    [
        "api",
        "API",
        "%61pi",
        "_",
        "%5f",
        "settings",
        "collections",
        "Collections",
        "records",
        "files",
        "token",
        "users",
        "_superusers",
        "backups",
        "logs",
        "crons",
        "sql",
        "batch",
        "health",
        "realtime",
        "impersonate",
        "truncate",
        "import",
        "meta",
        "auth-refresh",
        "auth-with-password",
        "oauth2-redirect",
        ".",
        "..",
        "%2e",
        "%2E%2e",
        ";",
        "%2f",
        "%5c",
        "%00",
        "%0a",
        "%252f",
        "%c0%ae",
        "%zz",
        "x",
    ]
)
pieces = st.one_of(words, st.text(st.characters(max_codepoint=255), max_size=6), st.tuples(words, words).map("".join))
paths = st.lists(pieces, max_size=7).map(lambda segments: ("/" + "/".join(segments)).encode("latin-1"))
likely = st.tuples(st.sampled_from([b"/api/collections/", b"/api/files/", b"/api/", b"/_/", b"/"]), paths).map(
    lambda parts: parts[0] + parts[1].lstrip(b"/")
)
methods = st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])


@given(methods, st.one_of(paths, likely, st.binary(max_size=40)))
@example("GET", b"/api/collections/x/../../settings")
@example("GET", b"/api/collections/users/records/%2e%2e")
@example("GET", b"/api/files/users/..%2f..%2fsettings/x")
@example("POST", b"/api/collections/users/impersonate/x")
def test_only_listed_routes_are_forwarded(method: str, raw_path: bytes) -> None:
    try:
        route = find(method, raw_path)
    except ServiceError:
        return
    if route is None:
        assert segments_of(raw_path)[0].casefold() not in ("api", "_")
        return
    target = route.upstream_path("notes" if route.collection is not None else None)
    assert ALLOWED.fullmatch(f"{method} {target}")
    assert posixpath.normpath(target) == target
    assert (route.collection is None) == ("/notes/" not in target)


@given(st.text(min_size=1, max_size=12))
def test_a_record_id_arrives_as_it_was_meant_or_not_at_all(id: str) -> None:
    encoded = "".join(f"%{byte:02x}" for byte in id.encode("utf-8", "surrogatepass")).encode()
    try:
        route = find("GET", b"/api/collections/notes/records/" + encoded)
    except MalformedPath:
        return
    assert isinstance(route, Route)
    last = route.upstream_path("notes").rpartition("/")[2]
    assert unquote(last) == id
    assert not set(last) & set("/\\?#;")


@pytest.mark.parametrize(
    "raw_path",
    [
        b"/api/settings",
        b"/API/SETTINGS",
        b"/api/%73ettings",
        b"/api/settings/",
        b"/api/settings;a",
        b"/_/",
        b"/%5F",
    ],
)
def test_superuser_routes_are_forbidden_however_they_are_spelt(raw_path: bytes) -> None:
    with pytest.raises(Forbidden):
        find("GET", raw_path)


@pytest.mark.parametrize(
    ("method", "raw_path"),
    [
        ("GET", b"/api"),
        ("PUT", b"/api/collections/notes/records"),
        ("POST", b"/api/collections/notes/AUTH-REFRESH"),
        ("GET", b"/API/health"),
        ("GET", b"/api/health/"),
        ("GET", b"/api/batch"),
    ],
)
def test_all_else_below_api_is_unknown(method: str, raw_path: bytes) -> None:
    with pytest.raises(NotFound):
        find(method, raw_path)


@pytest.mark.parametrize("raw_path", [b"/readyz", b"/", b"/apis", b"/.well-known/jwks.json", b"/_x"])
def test_other_paths_are_not_pocketbase_s(raw_path: bytes) -> None:
    assert find("GET", raw_path) is None


def test_collections_may_be_named_like_administrative_routes() -> None:
    for name in ("meta", "import", "settings"):
        route = find("GET", f"/api/collections/{name}/records".encode())
        assert route is not None
        assert route.collection == name


def test_every_route_has_its_kind() -> None:
    kinds = {
        ("HEAD", "/api/health"): "health",
        ("POST", "/api/realtime"): "realtime",
        ("POST", "/api/batch"): "batch",
        ("POST", "/api/files/token"): "file-token",
        ("HEAD", "/api/files/notes/a/b.png"): "file",
        ("DELETE", "/api/collections/notes/records/a"): "records",
        ("POST", "/api/collections/users/auth-with-otp"): "sign-in",
        ("GET", "/api/collections/users/auth-methods"): "auth",
    }
    for (method, path), kind in kinds.items():
        route = find(method, path.encode())
        assert route is not None
        assert route.kind == kind
