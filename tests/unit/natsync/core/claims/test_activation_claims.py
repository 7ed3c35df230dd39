from natsync.core.claims.activation_claims import activation_body


def test_a_grant_names_subject_kind_and_exporter() -> None:
    assert activation_body(subject="a.>", kind="service", exporter="A") == {
        "subject": "a.>",
        "kind": "service",
        "issuer_account": "A",
        "type": "activation",
        "version": 2,
    }
