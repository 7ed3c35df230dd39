"""JWT and seed to the text of a .creds file, as nats-io/jwt writes it (`creds_utils.go`)."""

_TEMPLATE = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.
NKEYs are sensitive and should be treated as secrets.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------

*************************************************************
"""


def render(jwt: str, seed: str) -> str:
    return _TEMPLATE.format(jwt=jwt, seed=seed)
