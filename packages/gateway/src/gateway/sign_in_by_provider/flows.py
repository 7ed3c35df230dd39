"""Who waits for somebody to come back from a provider, in this process: found by the state, once."""

import asyncio
import secrets
from dataclasses import dataclass, field

from common.core.errors import NotFound, UpstreamUnavailable
from gateway.core.realtime.client_id import ClientId
from gateway.core.sessions.provider_sign_in import Returned

UNKNOWN = "Nobody waits for this sign-in."
FULL = "Too many people are signing in; please retry."
MOST_FLOWS = 2000


@dataclass(slots=True)
class Flow:
    """`state` names the process that holds it, as a realtime client's id does; `target` is where the browser goes."""

    state: str
    address: str
    target: str
    returned: asyncio.Future[Returned] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Flows:
    def __init__(self, worker: str) -> None:
        self._worker = worker
        self._waiting: dict[str, Flow] = {}

    def open(self, address: str, target: str) -> Flow:
        """To be closed. Raises UpstreamUnavailable when there is no room."""
        if len(self._waiting) >= MOST_FLOWS:
            raise UpstreamUnavailable(FULL)
        state = str(ClientId(self._worker, secrets.token_urlsafe(24)))
        flow = self._waiting[state] = Flow(state, address, target)
        return flow

    def close(self, flow: Flow) -> None:
        self._waiting.pop(flow.state, None)
        flow.returned.cancel()

    def is_waiting(self, state: str) -> bool:
        return state in self._waiting

    def come_back(self, state: str, address: str, returned: Returned) -> str:
        """Where the browser is to go. Raises NotFound for a state that is unknown, used, or another address's."""
        flow = self._waiting.get(state)
        if flow is None or flow.address != address or flow.returned.done():
            raise NotFound(UNKNOWN)
        flow.returned.set_result(returned)
        return flow.target

    def end_all(self) -> None:
        """The gateway is about to stop."""
        for flow in list(self._waiting.values()):
            self.close(flow)
