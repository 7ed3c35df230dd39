"""Against npm's @nats-io/jwt, which shares no code with the Go library or with us."""

import json
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from natsync.core.claims.account_claims import account_body
from natsync.core.claims.activation_claims import activation_body
from natsync.core.claims.authorization_response import admission_body
from natsync.core.claims.creds_file import render
from natsync.core.claims.keys import KeyKind, KeyPair
from natsync.core.claims.operator_claims import deletion_body, operator_body
from natsync.core.claims.token_codec import Body, encode, read, read_as, unbase64url
from natsync.core.claims.user_claims import scoped_user_body, user_body
from tests.random_claims import ACCOUNTS, USERS, RandomClaims
from tests.servers import node

SCRIPT = Path(__file__).with_name("jwt_oracle.mjs")
OPERATOR = KeyPair(KeyKind.OPERATOR, b"\x01" * 32)
ACCOUNT, SIGNER, SCOPED, EXPORTER = ACCOUNTS
NAME = 'é <a>&"b" \u2028 ⚙ 𝄞'


def of_every_kind() -> list[str]:
    """Twenty accounts and twenty users at random, and one of each other kind."""
    say = partial(encode, name=NAME, issued_at=1_700_000_000)
    random = RandomClaims(Random(5))
    account, user = ACCOUNT.public_key, USERS[0].public_key
    accounts: list[Body] = [account_body(random.account()) for _ in range(20)]
    users: list[Body] = [user_body(random.user(), account=account, tags=["team:red"]) for _ in range(20)]
    operator = operator_body(signing_keys=[OPERATOR.public_key], system_account=account)
    grant = activation_body(subject="a.>", kind="service", exporter=EXPORTER.public_key)
    tokens = [say(each, subject=account, issuer=OPERATOR) for each in accounts]
    tokens += [say(each, subject=user, issuer=SIGNER, expires_at=1_800_000_000) for each in users]
    admitted = say(scoped_user_body(account=account), subject=user, issuer=SCOPED)
    return [
        *tokens,
        admitted,
        say(operator, subject=OPERATOR.public_key, issuer=OPERATOR),
        say(deletion_body([account]), subject=OPERATOR.public_key, issuer=OPERATOR),
        say(grant, subject=account, issuer=EXPORTER),
        say(admission_body(token=admitted, account=account), subject=user, issuer=SIGNER, audience="NSERVER"),
    ]


def as_the_package_reads(token: str) -> Any:
    """It takes the bytes of a token for Latin-1, which is what it does with Go's tokens as well."""
    return json.loads(unbase64url(token.split(".")[1]).decode("latin-1"))


async def asked(tokens: list[str], creds: str, home: Path) -> Any:
    node.install()
    question = home / "question.json"
    question.write_text(json.dumps({"tokens": tokens, "creds": creds}))
    return json.loads(await node.run(SCRIPT, str(question)))


async def test_another_implementation_believes_our_tokens_and_reads_in_them_what_we_said(
    tmp_path: Path,
) -> None:
    tokens = of_every_kind()
    forged = [f"{token[:-4]}AAAA" for token in tokens]
    creds = render(tokens[40], USERS[0].seed)
    answer = await asked([*tokens, *forged], creds, tmp_path)
    assert answer["decoded"][: len(tokens)] == [as_the_package_reads(token) for token in tokens]
    assert all("refused" in each for each in answer["decoded"][len(tokens) :])
    assert answer["creds"] == {"token": tokens[40], "key": USERS[0].seed, "account": ACCOUNT.public_key}


async def test_tokens_of_another_implementation_are_read(tmp_path: Path) -> None:
    token = of_every_kind()[40]
    made = (await asked([], render(token, USERS[0].seed), tmp_path))["made"]
    for kind, text in made.items():
        assert read_as(kind, text)["nats"]["type"] == kind
    plain, scoped = read(made["account"])["nats"]["signing_keys"]
    assert read(made["user"])["iss"] == read(made["activation"])["iss"] == plain
    assert scoped["template"]["pub"]["allow"] == ["a.{{name()}}"]
