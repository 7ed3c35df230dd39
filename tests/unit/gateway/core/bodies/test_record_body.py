import pytest

from gateway.core.bodies.form_values import PAYLOAD
from gateway.core.bodies.record_body import ReceivedBody, RecordBody, record_body, streamed, upstream_body
from gateway.core.body_refusals import MalformedBody
from gateway.core.front_door.form_query import form_query
from gateway.core.front_door.query import parse
from gateway.core.operation import Upload
from tests.bodies import joined, uploaded


def test_json_and_forms_become_fields_and_no_body_has_none() -> None:
    assert record_body(ReceivedBody(value={"a": 1})) == RecordBody({"a": 1})
    assert record_body(ReceivedBody(pairs=[("a", "1"), ("t+", "x")])) == RecordBody({"a": 1, "t+": "x"})
    assert record_body(ReceivedBody()) == RecordBody({})
    with pytest.raises(MalformedBody):
        record_body(ReceivedBody(value=[1]))


def test_rules_see_the_files_by_the_names_they_came_under() -> None:
    files = (uploaded(b"1", key="f"), uploaded(b"22", key="+f", filename="x"), uploaded(b"333", key="f"))
    assert RecordBody({}, files).uploads() == {
        "f": (
            Upload("file.bin", "application/octet-stream", 1, b"1"),
            Upload("file.bin", "application/octet-stream", 3, b"333"),
        ),
        "+f": (Upload("x", "application/octet-stream", 2, b"22"),),
    }


async def test_fields_alone_go_on_as_json() -> None:
    body = upstream_body(RecordBody({"a": "é"}), "b")
    assert (body.content_type, body.length) == ("application/json", 10)
    assert await joined(streamed(body)) == '{"a":"é"}'.encode()


async def test_files_go_on_behind_one_payload() -> None:
    files = (uploaded(b"x" * 2500, key="f+", filename="é.txt"), uploaded(b"", key="+g"))
    body = upstream_body(RecordBody({"a": 1}, files), "b0")
    content = await joined(streamed(body))
    assert body.content_type == "multipart/form-data; boundary=b0"
    assert len(content) == body.length
    assert (
        content
        == (
            f'--b0\r\nContent-Disposition: form-data; name="{PAYLOAD}"\r\n\r\n{{"a":1}}\r\n'
            f'--b0\r\nContent-Disposition: form-data; name="f+"; filename="é.txt"\r\n\r\n{"x" * 2500}\r\n'
            '--b0\r\nContent-Disposition: form-data; name="+g"; filename="file.bin"\r\n\r\n\r\n--b0--\r\n'
        ).encode()
    )


@pytest.mark.parametrize("key", ['f"; name="g', "@jsonPayload", "f\r\nX: y", "", "requests.x.f", "a.b"])
def test_a_file_under_a_name_that_is_no_fields_is_never_written(key: str) -> None:
    with pytest.raises(ValueError, match="no field's"):
        upstream_body(RecordBody({}, (uploaded(b"", key=key),)), "b")


def test_of_a_query_beside_a_form_only_what_shapes_the_answer_stays() -> None:
    query = parse(b"title=x&expand=a.b&fields=id%2Cn&fields=secret&%40jsonPayload=%7B%7D&n=1")
    assert form_query(query, ["title"]).encoded() == "expand=a.b&fields=id%2Cn"
    assert form_query(query, ["fields", "expand"]).encoded() == ""
