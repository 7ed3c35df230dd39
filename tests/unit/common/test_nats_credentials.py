import base64
from pathlib import Path

import nkeys  # pyright: ignore[reportMissingTypeStubs] - it has none
import pytest

from common.adapters.nats_credentials import CredentialsFile, Unusable

SEED = "SUAJ4DGFSCU557R6BOSZBOHNKI44CQSLGA57WGVSFDT2RWT2BNW7RKKEVQ"
FILE = f"""-----BEGIN NATS USER JWT-----
eyJ0.eyJ1.c2ln
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{SEED}
------END USER NKEY SEED------
"""


def test_a_credentials_file_gives_its_jwt_and_signs(tmp_path: Path) -> None:
    file = tmp_path / "x.creds"
    seed = bytes(nkeys.encode_seed(b"\x05" * 32, nkeys.PREFIX_BYTE_USER))
    pair = nkeys.from_seed(bytearray(seed))
    file.write_text(FILE.replace(SEED, seed.decode()))
    credentials = CredentialsFile(file)
    assert credentials.jwt() == b"eyJ0.eyJ1.c2ln"
    assert pair.verify(b"nonce", base64.b64decode(credentials.sign("nonce")))


@pytest.mark.parametrize(
    "text", ["", "nonsense", FILE[:40], FILE.replace("USER JWT", "OTHER"), FILE.replace(SEED, "SUA")]
)
def test_a_file_that_is_none_is_refused_and_keeps_nobody_waiting(tmp_path: Path, text: str) -> None:
    file = tmp_path / "x.creds"
    file.write_text(text)
    with pytest.raises(Unusable, match=r"x\.creds"):
        login(CredentialsFile(file))


def login(credentials: CredentialsFile) -> None:
    credentials.jwt()
    credentials.sign("nonce")


def test_a_file_that_is_not_there_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        CredentialsFile(tmp_path / "none").jwt()


def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    file = tmp_path / "x.creds"
    file.write_text(FILE)
    credentials = CredentialsFile(file)
    credentials.jwt()
    file.write_text(FILE.replace("eyJ0.eyJ1.c2ln", "new.new.new"))
    assert credentials.jwt() == b"new.new.new"
