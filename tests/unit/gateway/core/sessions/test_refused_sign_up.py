"""What PocketBase is given in place of a sign-up that rules refuse, and how its answer is told from others."""

import pytest

from gateway.core.sessions.refused_sign_up import unmade, was_tried


def test_a_record_that_cannot_be_made_takes_the_place_of_the_refused_one() -> None:
    sent = unmade({"provider": "oidc", "createData": {"name": "x", "password": "12345678"}})
    assert sent["provider"] == "oidc"
    assert sent["createData"]["password"] != sent["createData"]["passwordConfirm"]
    assert set(sent["createData"]) == {"password", "passwordConfirm"}


@pytest.mark.parametrize(
    ("body", "tried"),
    [
        (b'{"data":{"passwordConfirm":{"code":"validation_values_mismatch"}},"status":400}', True),
        (b'{"data":{},"message":"Failed to fetch OAuth2 token.","status":400}', False),
        (b'{"data":null}', False),
        (b'{"data":["passwordConfirm"]}', False),
        (b'"passwordConfirm"', False),
        (b"passwordConfirm", False),
    ],
)
def test_only_a_record_that_was_tried_is_the_rules_business(body: bytes, tried: bool) -> None:
    assert was_tried(body) is tried
