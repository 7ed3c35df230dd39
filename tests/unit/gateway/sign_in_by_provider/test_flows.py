"""Who waits for somebody to come back from a provider."""

import asyncio

import pytest

from common.core.errors import NotFound, UpstreamUnavailable
from gateway.core.realtime.client_id import read_client_id
from gateway.core.sessions.provider_sign_in import Returned
from gateway.sign_in_by_provider.flows import MOST_FLOWS, Flows

WORKER = "0123456789abcdef"


async def test_a_state_names_the_process_and_is_good_once_for_one_address() -> None:
    flows = Flows(WORKER)
    flow = flows.open("10.0.0.1", "https://app.example.com")
    found = read_client_id(flow.state)
    assert found
    assert found.worker == WORKER
    for state, address in ((flow.state, "10.0.0.2"), (flow.state[:-1] + "?", "10.0.0.1")):
        with pytest.raises(NotFound):
            flows.come_back(state, address, Returned("code"))
    assert flows.come_back(flow.state, "10.0.0.1", Returned("code")) == "https://app.example.com"
    assert await flow.returned == Returned("code")
    with pytest.raises(NotFound):
        flows.come_back(flow.state, "10.0.0.1", Returned("another"))


async def test_there_is_room_for_so_many_and_a_place_that_is_left_is_free() -> None:
    flows = Flows(WORKER)
    opened = [flows.open("10.0.0.1", "") for _ in range(MOST_FLOWS)]
    with pytest.raises(UpstreamUnavailable):
        flows.open("10.0.0.1", "")
    flows.close(opened[0])
    with pytest.raises(NotFound):
        flows.come_back(opened[0].state, "10.0.0.1", Returned("code"))
    last = flows.open("10.0.0.1", "")
    flows.end_all()
    assert not flows.is_waiting(last.state)
    with pytest.raises(asyncio.CancelledError):
        await last.returned
