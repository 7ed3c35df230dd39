from natsync.core.claims.creds_file import render


def test_the_file_is_what_the_go_library_writes() -> None:
    lines = render("JWT", "SEED").splitlines()
    assert lines[:3] == ["-----BEGIN NATS USER JWT-----", "JWT", "------END NATS USER JWT------"]
    assert lines[4] == "************************* IMPORTANT *************************"
    assert lines[8:11] == ["-----BEGIN USER NKEY SEED-----", "SEED", "------END USER NKEY SEED------"]
