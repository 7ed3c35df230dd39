"""A rule's no, as the client and the operator get it."""

from typing import Any, cast

import pytest

from common.core.errors import Forbidden, InvalidRequest, NotFound, Unauthenticated, UpstreamUnavailable
from gateway.core.body_refusals import InvalidFields
from gateway.core.refusal_answer import status_of
from gateway.core.rule_files.outcome import place_of, refusal_in, text_of
from gateway.core.rule_files.refusals import (
    MAX_FIELD_ERRORS,
    FieldError,
    ModerationUnavailable,
    Refused,
    RuleFailed,
    RuleOverdue,
    RulesNotLoaded,
    Status,
    invalid,
    refuse,
    service_error,
)


@pytest.mark.parametrize(
    ("status", "kind", "message"),
    [
        (400, InvalidRequest, "Something went wrong while processing your request."),
        (401, Unauthenticated, "The request requires valid record authorization token."),
        (403, Forbidden, "You are not allowed to perform this request."),
        (404, NotFound, "The requested resource wasn't found."),
    ],
)
def test_a_refusal_without_words_says_what_pocketbase_says(status: Status, kind: type, message: str) -> None:
    with pytest.raises(Refused) as refused:
        refuse(status=status)
    error = service_error(refused.value, "update")
    assert type(error) is kind
    assert str(error) == message
    assert status_of(error) == status


@pytest.mark.parametrize("status", [200, 302, 500, 418])
def test_a_rule_cannot_refuse_with_a_status_that_is_no_refusal(status: int) -> None:
    with pytest.raises(ValueError, match="refuses with one of"):
        refuse(status=cast(Any, status))


def test_field_errors_are_told_in_pocketbases_shape_the_first_of_a_field() -> None:
    with pytest.raises(Refused) as refused:
        invalid(
            FieldError("title", "Too loud.", "validation_loud"), FieldError("title", "Later."), FieldError("n", "No.")
        )
    error = service_error(refused.value, "create")
    assert isinstance(error, InvalidFields)
    assert str(error) == "Failed to create record."
    assert error.data == {
        "title": {"code": "validation_loud", "message": "Too loud."},
        "n": {"code": "validation_refused", "message": "No."},
    }


def test_one_field_error_may_be_raised_by_itself() -> None:
    error = service_error(FieldError("title", "Too loud."), "update")
    assert isinstance(error, InvalidFields)
    assert str(error) == "Failed to update record."


def test_errors_and_their_texts_are_bounded() -> None:
    error = service_error(Refused("m" * 9999, 400, [FieldError(f"f{n}", "x" * 9999) for n in range(999)]), "create")
    assert isinstance(error, InvalidFields)
    assert len(error.data) == MAX_FIELD_ERRORS
    assert len(str(error)) == len(error.data["f0"]["message"]) == 1000


def test_a_broad_except_in_a_rule_does_not_turn_its_no_into_a_yes() -> None:
    def careless() -> None:
        try:
            refuse("no")
        except Exception:  # noqa: BLE001
            return

    with pytest.raises(Refused):
        careless()


def test_what_a_rule_meant_is_found_in_its_task_groups_too() -> None:
    group = BaseExceptionGroup("tasks", [ValueError("x"), BaseExceptionGroup("inner", [Refused("no", 403)])])
    assert isinstance(refusal_in(group, "create"), Forbidden)
    assert refusal_in(BaseExceptionGroup("tasks", [ValueError("x")]), "create") is None
    assert refusal_in(SystemExit(), "create") is None


def test_faults_of_rules_are_never_a_pass_and_tell_nothing() -> None:
    assert status_of(RuleFailed()) == 500
    for error in (RuleOverdue(), RulesNotLoaded(), ModerationUnavailable()):
        assert status_of(error) == 503
        assert isinstance(error, UpstreamUnavailable)


def test_an_error_is_placed_at_the_innermost_line_of_the_rules_own_file() -> None:
    source = "def outer():\n    helper(inner)\n\ndef inner():\n    raise ValueError\n"
    names: dict[str, Any] = {"helper": lambda call: call()}  # pyright: ignore[reportUnknownLambdaType]
    exec(compile(source, "rules/a.py", "exec"), names)
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - it is the place that is asked for
        names["outer"]()
    assert str(place_of(raised.value, "rules/a.py")) == "rules/a.py:5"
    assert place_of(raised.value, "rules/b.py") is None


def test_an_error_of_the_services_own_kind_is_told_as_it_is() -> None:
    away = UpstreamUnavailable("away")
    assert refusal_in(away, "create") is away


def test_an_error_that_cannot_say_what_it_is_is_still_reported() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert text_of(Mute(), max_characters=10) == ""
    assert text_of(ValueError("x" * 99), max_characters=10) == "x" * 10
