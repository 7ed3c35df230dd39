import socket

import pytest

from infra.embedded.ports import Port, PortTaken, check


def test_a_taken_port_is_named_with_its_owner_and_its_setting() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"{number} \(gateway\).*POCKETWIRE_GATEWAY_PORT"):
            check([Port(number, "gateway", "POCKETWIRE_GATEWAY_PORT")])


def test_two_parts_cannot_share_a_port() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = probe.getsockname()[1]
    with pytest.raises(PortTaken, match="A_PORT or B_PORT"):
        check([Port(number, "a", "A_PORT"), Port(number, "b", "B_PORT")])
