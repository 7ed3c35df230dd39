from natsync.core.claims.authorization_response import admission_body, refusal_body

COMMON = {"issuer_account": "A", "type": "authorization_response", "version": 2}


def test_an_answer_admits_or_says_why_not() -> None:
    assert admission_body(token="j.w.t", account="A") == {"jwt": "j.w.t", **COMMON}
    assert refusal_body(reason="suspended", account="A") == {"error": "suspended", **COMMON}
