"""No secret reaches a log line, wherever in an event it stands."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from common.core.tokens import SigningKey
from common.serving.logs import REDACTED, redacted

TOKEN = SigningKey(b"\x01" * 32).sign({"sub": "ann"})
SEED = "SUAHLY4WWWPD3ZPUJ5PQ7S5Y2Z2TF4SPOXN7DSP7JSDWT2SHVVTTTEHX7M"
SECRETS = [TOKEN, SEED]


def line(event: dict[str, Any]) -> str:
    return json.dumps({name: redacted(name, value) for name, value in event.items()})


def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=3) | st.dictionaries(st.text("abcxyz", max_size=5), inner, max_size=3)


@given(
    secret=st.sampled_from(SECRETS),
    before=st.text(st.characters(exclude_characters="_-", exclude_categories=["L", "N", "Cs"]), max_size=10),
    shape=st.data(),
)
def test_tokens_and_seeds_are_taken_out_of_any_text_at_any_depth(
    secret: str, before: str, shape: st.DataObject
) -> None:
    leaf = st.just(f"{before} {secret} after")
    event = shape.draw(st.dictionaries(st.text("abcxyz", max_size=5), st.recursive(leaf, containers), max_size=3))
    assert secret not in line(event)


def test_named_secrets_are_taken_out_whatever_they_look_like() -> None:
    event = {"password": "hunter2", "nested": {"Authorization": ["x", "y"], "api_key": 5, "creds_file": b"z"}}
    shown = {name: redacted(name, value) for name, value in event.items()}
    assert shown == {
        "password": REDACTED,
        "nested": {"Authorization": REDACTED, "api_key": REDACTED, "creds_file": REDACTED},
    }


def test_queries_and_urls_lose_their_secrets_and_keep_the_rest() -> None:
    assert redacted("path", "/ws?token=abc&x=1") == f"/ws?token={REDACTED}&x=1"
    assert redacted("url", "postgresql://ann:pw@host/db") == f"postgresql://{REDACTED}@host/db"


def test_what_is_no_secret_stays() -> None:
    event = {"path": "/channels", "status": 200, "names": ["a", "b"], "token": None}
    assert {name: redacted(name, value) for name, value in event.items()} == event
