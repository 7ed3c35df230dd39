from natsync.core.servers.sparing import Sparing


def test_so_many_a_second_are_said_and_the_others_counted() -> None:
    sparing = Sparing(2)
    assert [sparing.admits(10.0) for _ in range(5)] == [0, 0, None, None, None]
    assert sparing.admits(10.9) is None
    assert sparing.admits(11.0) == 4
    assert sparing.admits(11.1) == 0
