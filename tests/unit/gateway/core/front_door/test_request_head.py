import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.front_door.request_head import request_head


def test_a_head_names_the_host_and_what_it_was_given_and_nothing_else() -> None:
    written = request_head("GET", "/api/health?a=%20b", "pocketbase:8090", [("accept", "*/*"), ("X-Name", "é")])
    lines = ["GET /api/health?a=%20b HTTP/1.1", "Host: pocketbase:8090", "accept: */*", "X-Name: é", "", ""]
    assert written == "\r\n".join(lines).encode()


@given(before=st.text(), after=st.text(), line_break=st.sampled_from(["\r\n", "\n", "\r"]), place=st.integers(0, 3))
def test_a_line_break_within_a_line_is_never_written(before: str, after: str, line_break: str, place: int) -> None:
    words = ["/api", "host", "x-name", "value"]
    words[place] = before + line_break + after
    target, host, name, value = words
    with pytest.raises(ValueError, match="line break"):
        request_head("GET", target, host, [(name, value)])
