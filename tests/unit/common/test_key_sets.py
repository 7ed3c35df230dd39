"""Which published keys are used, and for what."""

from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from common.core.key_sets import ASYMMETRIC, MAX_KEYS, UnfitKey, read_key, read_key_set
from common.core.tokens import SigningKey
from tests.servers.issuer import RealmKey

KEY = SigningKey(b"\x01" * 32)
REALM = RealmKey()
RSA = {name: REALM.public_jwk[name] for name in ("kid", "kty", "n", "e")}


def small_rsa() -> dict[str, Any]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    return {"kid": "small", **RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)}


def ed25519_key() -> tuple[ed25519.Ed25519PrivateKey, dict[str, Any]]:
    key = ed25519.Ed25519PrivateKey.generate()
    return key, {"kid": "ed", **OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)}


def test_a_key_verifies_what_it_says_and_nothing_else() -> None:
    assert read_key(KEY.public_jwk).algorithms == {"ES256"}
    assert read_key(REALM.public_jwk).algorithms == {"RS256"}
    assert read_key(RSA).algorithms == {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"}
    assert not read_key(KEY.public_jwk).verifies("RS256", b"text", b"signature")
    assert not read_key(KEY.public_jwk).verifies("ES256", b"text", b"")


@pytest.mark.parametrize(("curve", "algorithm"), [(ec.SECP384R1(), "ES384"), (ec.SECP521R1(), "ES512")])
def test_the_larger_curves_are_known(curve: ec.EllipticCurve, algorithm: str) -> None:
    key = ec.generate_private_key(curve)
    read = read_key({"kid": "big", **ECAlgorithm.to_jwk(key.public_key(), as_dict=True)})
    assert read.algorithms == {algorithm}
    signature = jwt.get_algorithm_by_name(algorithm).sign(b"text", key)
    assert read.verifies(algorithm, b"text", signature)
    assert not read.verifies(algorithm, b"test", signature)


def test_ed25519_is_known() -> None:
    key, published = ed25519_key()
    read = read_key(published)
    assert read.algorithms == {"EdDSA"}
    assert read.verifies("EdDSA", b"text", key.sign(b"text"))
    assert not read.verifies("EdDSA", b"text", b"x" * 64)


def test_all_that_is_known_is_asymmetric() -> None:
    assert not [name for name in ASYMMETRIC if name.startswith(("HS", "none"))]


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"use": "enc"}, "use"),
        ({"use": 7}, "use"),
        ({"key_ops": ["sign"]}, "key_ops"),
        ({"key_ops": "verify"}, "key_ops"),
        ({"alg": "HS256"}, "alg"),
        ({"alg": "RS256"}, "alg"),
        ({"alg": "ES384"}, "alg"),
        ({"alg": "none"}, "alg"),
        ({"alg": 7}, "alg"),
        ({"kid": ""}, "kid"),
        ({"kid": 7}, "kid"),
        ({"kid": "k" * 257}, "kid"),
        ({"kty": "oct", "crv": None}, "kty"),
        ({"kty": "of another age"}, "kty"),
        ({"kty": None}, "kty"),
        ({"crv": "secp256k1"}, "crv"),
        ({"crv": ["P-256"]}, "crv"),
        ({"crv": "P-384", "alg": None}, "x"),
        ({"x": "AAAA"}, "x"),
        ({"x": "é"}, "x"),
        ({"x": KEY.public_jwk["y"]}, "y"),
        ({"y": None}, "y"),
        ({"y": 7}, "y"),
        ({"d": "AQ"}, "private"),
        ({"k": "AQ"}, "private"),
    ],
    ids=str,
)
def test_a_key_that_does_not_fit_is_refused_for_what_is_wrong_with_it(changes: dict[str, Any], fault: str) -> None:
    jwk = {**KEY.public_jwk, "alg": "ES256", **changes}
    with pytest.raises(UnfitKey, match=fault):
        read_key({name: value for name, value in jwk.items() if value is not None})


def test_a_key_too_small_to_be_safe_is_refused() -> None:
    with pytest.raises(UnfitKey, match="2048 to 8192 bits"):
        read_key(small_rsa())
    with pytest.raises(UnfitKey, match="n"):
        read_key({**RSA, "n": ""})
    with pytest.raises(UnfitKey, match="e"):
        read_key({**RSA, "e": "AA"})


@pytest.mark.parametrize("entry", [None, 7, "x", [], {}, {"kid": "a"}, {"kid": "a", "kty": "EC"}], ids=repr)
def test_an_unfit_key_is_left_out_and_spoils_no_other(entry: Any) -> None:
    keys, faults = read_key_set({"keys": [entry, KEY.public_jwk]})
    assert list(keys) == [KEY.key_id]
    assert len(faults) == 1


def test_the_first_of_two_keys_with_one_id_is_used_and_so_are_no_more_than_a_hundred() -> None:
    other = {**SigningKey(b"\x02" * 32).public_jwk, "kid": KEY.key_id}
    assert read_key_set({"keys": [KEY.public_jwk, other]})[0] == {KEY.key_id: KEY.verification_key}
    many = [{**KEY.public_jwk, "kid": str(number)} for number in range(MAX_KEYS + 5)]
    assert len(read_key_set({"keys": many})[0]) == MAX_KEYS


@pytest.mark.parametrize("document", [[], "keys", None, {}, {"keys": None}, {"keys": {}}, {"keys": []}, {"keys": [7]}])
def test_a_set_without_a_single_usable_key_is_no_key_set(document: Any) -> None:
    with pytest.raises(ValueError, match="key"):
        read_key_set(document)
