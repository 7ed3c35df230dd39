import pytest

from gateway.core.bodies.record_body import ReceivedBody
from gateway.core.bodies.struct_bodies import (
    AUTH_BODIES,
    REALTIME_BODY,
    folded_name,
    oauth2_redirect_form,
    struct_fields,
)
from gateway.core.body_refusals import MalformedBody
from tests.bodies import uploaded

PASSWORD = AUTH_BODIES["auth-with-password"]


def test_known_names_pass_in_their_own_spelling_and_unknown_ones_as_they_are() -> None:
    body = {"identity": "a", "password": "b", "tenant": {"id": 1}}
    assert struct_fields(ReceivedBody(value=body), PASSWORD) == body


@pytest.mark.parametrize(
    "name",
    [
        "IDENTITY",
        "Identity",
        "identity_",
        "-identity",
        "i-d_entity",
        "identity_field",
        "pa\u017f\u017fword",
        "identityfield",
        "MFAID",
    ],
)
def test_a_name_that_pocketbase_would_take_for_one_it_knows_is_refused(name: str) -> None:
    with pytest.raises(MalformedBody):
        struct_fields(ReceivedBody(value={"identity": "a", name: "b"}), PASSWORD)
    with pytest.raises(MalformedBody):
        struct_fields(ReceivedBody(pairs=[(name, "b")]), PASSWORD)


def test_two_known_names_that_fold_to_one_are_not_both_taken() -> None:
    with pytest.raises(MalformedBody):
        struct_fields(ReceivedBody(value={"redirectURL": "a", "redirectUrl": "b"}), AUTH_BODIES["auth-with-oauth2"])


def test_text_of_a_form_stays_text_and_its_first_value_counts() -> None:
    pairs = [("identity", "1"), ("identity", "2"), ("password", "true"), ("mfaId", "7"), ("extra", "3")]
    assert struct_fields(ReceivedBody(pairs=pairs), PASSWORD) == {
        "identity": "1",
        "password": "true",
        "mfaId": "7",
        "extra": 3,
    }


def test_subscriptions_of_a_form_are_a_list() -> None:
    pairs = [("clientId", "5"), ("subscriptions", "1")]
    assert struct_fields(ReceivedBody(pairs=pairs), REALTIME_BODY) == {"clientId": "5", "subscriptions": ["1"]}


@pytest.mark.parametrize("pairs", [[("@jsonPayload", '{"identity":"a"}')], [("createData", "{}")]])
def test_objects_in_forms_are_refused(pairs: list[tuple[str, str]]) -> None:
    with pytest.raises(MalformedBody):
        struct_fields(ReceivedBody(pairs=pairs), AUTH_BODIES["auth-with-oauth2"])


def test_no_body_and_null_are_empty_and_other_values_are_refused() -> None:
    assert struct_fields(ReceivedBody(), {}) == {}
    with pytest.raises(MalformedBody):
        struct_fields(ReceivedBody(value=["a"]), {})


def test_folding_is_that_of_go() -> None:
    assert folded_name("Otp_I-D") == folded_name("otpId")
    assert folded_name("\u0131d") != folded_name("id")


def test_a_redirect_stays_a_form_of_known_fields_alone() -> None:
    pairs = [
        ("state", "a&b"),
        ("state", "x"),
        ("code", "é"),
        ("user", '{"name":{}}'),
        ("STATE", "y"),
        ("id_token", "z"),
    ]
    body = oauth2_redirect_form(ReceivedBody(pairs=pairs))
    document = b"state=a%26b&code=%C3%A9&user=%7B%22name%22%3A%7B%7D%7D"
    assert (body.content_type, body.length, body.pieces) == (
        "application/x-www-form-urlencoded",
        len(document),
        (document,),
    )


@pytest.mark.parametrize("received", [ReceivedBody(value={"state": "a"}), ReceivedBody()])
def test_a_redirect_that_is_no_form_is_refused(received: ReceivedBody) -> None:
    with pytest.raises(MalformedBody):
        oauth2_redirect_form(received)


def test_a_redirect_with_a_file_is_refused() -> None:
    with pytest.raises(MalformedBody):
        oauth2_redirect_form(ReceivedBody(pairs=[], files=(uploaded(b""),)))
