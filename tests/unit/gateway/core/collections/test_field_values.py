from typing import Any

import pytest

from gateway.core.bodies.record_body import RecordBody
from gateway.core.collections.catalogue import Field
from gateway.core.collections.field_values import settled, settled_body

FIELDS = [
    Field("t", "text"),
    Field("n", "number"),
    Field("b", "bool"),
    Field("j", "json"),
    Field("g", "geoPoint"),
    Field("s", "select", is_multiple=True),
    Field("o", "relation"),
    Field("d", "date"),
]


@pytest.mark.parametrize(
    ("key", "value", "meant"),
    [
        ("b", "T", True),
        ("b", "yes", False),
        ("b", 0.5, True),
        ("b", 0, False),
        ("b", None, False),
        ("b", [True], False),
        ("n", "1e3", 1000),
        ("n", ".5", 0.5),
        ("n", True, 1),
        ("n", None, 0),
        ("n", [5], 0),
        ("n+", "5", 5),
        ("n", "0x1", "0x1"),
        ("n", "1e999", "1e999"),
        ("n", "36028797018963966", 3.602879701896397e16),
        ("t", 1e21, "1000000000000000000000"),
        ("t", 1.5, "1.5"),
        ("t", True, "true"),
        ("t", False, "false"),
        ("t", None, ""),
        ("t", ["a"], ""),
        ("t:autogenerate", 5, 5),
        ("s", "a", ["a"]),
        ("s", '["a","b","a"]', ["a", "b"]),
        ("s", ' ["a",null]', ["a"]),
        ("s", '["a",1]', ['["a",1]']),
        ("s", '["a"', ['["a"']),
        ("s", ["a", 1, True, None, ""], ["a", "1", "true"]),
        ("s", ["a", ["b"]], []),
        ("s", None, []),
        ("s", 5, ["5"]),
        ("s-", "a", ["a"]),
        ("o", ["a", "b"], "b"),
        ("o", [], ""),
        ("o", ['["x"]'], ['["x"]']),
        ("o+", "a", ["a"]),
        ("j", '{"a":[1.5,-0,true]}', {"a": [1.5, 0, True]}),
        ("j", "null", None),
        ("j", "true", True),
        ("j", "5", 5),
        ("j", '"true"', '"true"'),
        ("j", " [1]", " [1]"),
        ("j", "trueish", "trueish"),
        ("j", "[1", "[1"),
        ("j", '{"a":1,"a":2}', '{"a":1,"a":2}'),
        ("j", "[NaN]", "[NaN]"),
        ("j", "9007199254740993", "9007199254740993"),
        ("j", "[12345678901234567890]", "[12345678901234567890]"),
        ("j", "[0.1000000000000000055]", "[0.1000000000000000055]"),
        ("j", "[1e999]", "[1e999]"),
        ("j", "[" * 100 + "]" * 100, "[" * 100 + "]" * 100),
        ("j", ["x"], ["x"]),
        ("g", '{"lon":1,"lat":2}', {"lon": 1, "lat": 2}),
        ("g", "[1,2]", "[1,2]"),
        ("g", {"lon": "1"}, {"lon": "1"}),
        ("d", 5, 5),
        ("unknown", "T", "T"),
        ("b+", "T", "T"),
        ("j+", "[1]", "[1]"),
        ("g-", "{}", "{}"),
    ],
)
def test_a_value_is_shown_as_what_will_be_stored(key: str, value: Any, meant: Any) -> None:
    shown = settled({key: value}, FIELDS)[key]
    assert shown == meant
    assert type(shown) is type(meant)


def test_a_body_keeps_its_files_and_is_not_changed_itself() -> None:
    body = RecordBody({"b": "1"})
    assert settled_body(body, FIELDS) == RecordBody({"b": True})
    assert body.fields == {"b": "1"}
