import pytest
from hypothesis import given
from hypothesis import strategies as st

from natsync.core.claims.user_claims import Permissions, ResponsePermission
from natsync.core.state.templates import TemplateUnfit, TemplateValues, expanded, template_faults
from natsync.core.validation.subject_grammar import subject_fault
from natsync.core.validation.user_validation import MAX_SUBJECTS

BOB = TemplateValues(
    "bob", "UB", "tenant", "AT", tags=("team:red", "team:blue", "floor:3"), account_tags=("tier:gold",)
)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{name()}}", "bob"),
        ("{{subject()}}", "UB"),
        ("{{account-name()}}", "tenant"),
        ("{{account-subject()}}", "AT"),
        ("{{account-tag(tier)}}", "gold"),
        ("u-{{name()}}-x", "u-bob-x"),
    ],
)
def test_a_template_becomes_what_it_stands_for(template: str, value: str) -> None:
    assert expanded(Permissions((f"a.{template}.>",)), BOB).publish == (f"a.{value}.>",)


def test_a_tag_with_several_values_becomes_as_many_subjects() -> None:
    permissions = Permissions(subscribe=("{{tag(team)}}.{{tag(FLOOR)}}", "x.{{tag(team)}}.{{tag(team)}}"))
    assert expanded(permissions, BOB).subscribe == (
        "red.3",
        "blue.3",
        "x.red.red",
        "x.blue.blue",
    )


def test_what_is_allowed_to_nobody_is_left_out_and_nothing_left_is_everything_denied() -> None:
    some = expanded(Permissions(("a.{{tag(none)}}", "b")), BOB)
    assert (some.publish, some.publish_deny) == (("b",), ())
    none = expanded(Permissions(("a.{{tag(none)}}",), ("a.{{tag(none)}}",), response=ResponsePermission()), BOB)
    assert (none.publish, none.publish_deny) == ((), (">",))
    assert (none.subscribe, none.subscribe_deny) == ((), (">",))
    assert none.response == ResponsePermission()


def test_a_list_that_was_empty_stays_so() -> None:
    assert expanded(Permissions(), BOB) == Permissions()


@pytest.mark.parametrize("name", [">", "*", "a.b", "", "a b", "{{name()}}", "a\n"])
def test_a_name_that_would_widen_a_subject_is_refused(name: str) -> None:
    values = TemplateValues(name, "UB")
    for permissions in (Permissions(("a.{{name()}}",)), Permissions(subscribe_deny=("a.{{name()}}",))):
        assert template_faults(permissions, values) == ["{{name()}} is not one plain token for this user"]
        with pytest.raises(TemplateUnfit):
            expanded(permissions, values)


def test_a_tag_that_would_widen_a_subject_is_refused_where_it_is_used() -> None:
    values = TemplateValues("bob", "UB", tags=("team:>", "floor:3"))
    assert template_faults(Permissions(("a.{{tag(floor)}}",)), values) == []
    assert template_faults(Permissions(("a.{{tag(team)}}",)), values)


def test_any_name_will_do_where_no_template_asks_for_it() -> None:
    assert template_faults(Permissions(("a.>",)), TemplateValues(">", "UB")) == []


def test_what_is_denied_has_to_be_known() -> None:
    (fault,) = template_faults(Permissions(publish_deny=("a.{{tag(none)}}",)), BOB)
    assert "denied" in fault


def test_tags_do_not_make_subjects_without_end() -> None:
    values = TemplateValues("bob", "UB", tags=tuple(f"{key}:{number}" for key in "klm" for number in range(40)))
    with pytest.raises(TemplateUnfit, match=f"more than {MAX_SUBJECTS}"):
        expanded(Permissions(("{{tag(k)}}.{{tag(l)}}.{{tag(m)}}",)), values)


@given(name=st.text(), tags=st.lists(st.text().map("team:{}".format)).map(tuple))
def test_nothing_that_is_filled_in_is_more_than_a_token(name: str, tags: tuple[str, ...]) -> None:
    permissions = Permissions(("a.{{name()}}.b", "c.{{tag(team)}}"), ("d",))
    try:
        filled = expanded(permissions, TemplateValues(name, "UB", tags=tags))
    except TemplateUnfit:
        return
    for subject in filled.publish:
        assert subject_fault(subject) == ""
        assert not {"*", ">"} & set(subject)
        assert subject.count(".") == (2 if subject.startswith("a.") else 1)
