from natsync.core.claims.token_difference import MOST_LINES, token_difference


def test_every_value_that_differs_is_told_before_and_after() -> None:
    before = {"limits": {"conn": -1, "subs": 5}, "name": "a"}
    after = {"limits": {"conn": 10, "subs": 5}, "name": "a", "description": "new"}
    assert token_difference(before, after) == ('description: nothing -> "new"', "limits.conn: -1 -> 10")
    assert token_difference(after, after) == ()


def test_of_lists_it_counts_what_is_in_them() -> None:
    assert token_difference({"keys": ["A", "B"]}, {"keys": ["B", "C"]}) == ('keys: without "A"', 'keys: with "C"')
    assert token_difference({}, {"keys": ["A"]}) == ('keys: with "A"',)


def test_entries_of_a_mapping_are_told_one_by_one() -> None:
    assert token_difference({}, {"revocations": {"U1": 5}}) == ("revocations.U1: nothing -> 5",)


def test_tokens_within_are_not_shown() -> None:
    before = {"imports": [{"subject": "x", "token": "eyJsecret"}], "token": "eyJold"}
    after = {"imports": [{"subject": "y", "token": "eyJsecret"}], "token": "eyJnew"}
    said = "\n".join(token_difference(before, after))
    assert "eyJ" not in said
    assert "a token" in said


def test_there_is_an_end_to_it() -> None:
    found = token_difference({}, {"many": [f"subject.{number}" for number in range(1000)], "long": "x" * 9999})
    assert len(found) == MOST_LINES + 1
    assert "more" in found[-1]
    assert max(map(len, found)) < 300
