from natsync.core.claims.operator_claims import deletion_body, operator_body


def test_an_operator_says_its_keys_and_its_system_account() -> None:
    body = operator_body(signing_keys=["OA"], system_account="A")
    assert body == {"signing_keys": ["OA"], "system_account": "A", "type": "operator", "version": 2}
    strict = operator_body(signing_keys=[], system_account="A", service_urls=["nats://h:1"], strict_signing_keys=True)
    assert (strict["operator_service_urls"], strict["strict_signing_key_usage"]) == (["nats://h:1"], True)


def test_a_deletion_lists_the_accounts() -> None:
    assert deletion_body(iter(["A", "B"])) == {"accounts": ["A", "B"], "type": "generic", "version": 2}
