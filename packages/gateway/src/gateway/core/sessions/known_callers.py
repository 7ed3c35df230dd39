"""What one process remembers of tokens, so that it need not verify and ask anew at each request.

Times are seconds of one monotonic clock.
"""

from collections import OrderedDict
from dataclasses import dataclass

from gateway.core.sessions.principal import Principal


@dataclass(slots=True)
class Known:
    """A token whose signature was verified. `until` is how long its session is believed to live without asking."""

    principal: Principal
    until: float = 0.0
    note_at: float = 0.0


class KnownCallers:
    """By token, the least recently used forgotten first.

    `epoch` moves whenever something is forgotten on purpose: an answer that was asked for in an earlier epoch may
    have been overtaken by the very notice that moved it, so `believe` takes no such answer. `doubts` moves likewise for
    `confirm`: that PocketBase takes a session's token holds until the record, or who knows what, has changed.
    """

    def __init__(self, max_entries: int) -> None:
        self.epoch = 0
        self.doubts = 0
        self._max_entries = max_entries
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._tokens: dict[str, set[str]] = {}
        self._sessions: dict[str, set[str]] = {}
        self._confirmed: set[str] = set()

    def __len__(self) -> int:
        return len(self._known)

    def get(self, token: str) -> Known | None:
        known = self._known.get(token)
        if known is not None:
            self._known.move_to_end(token)
        return known

    def put(self, token: str, principal: Principal) -> Known:
        """To be called for verified tokens alone; nothing is believed of the session yet."""
        self.drop(token)
        known = self._known[token] = Known(principal)
        self._tokens.setdefault(principal.session_id, set()).add(token)
        self._sessions.setdefault(principal.record_id, set()).add(principal.session_id)
        if len(self._known) > self._max_entries:
            self.drop(next(iter(self._known)))
        return known

    def believe(self, known: Known, principal: Principal, *, until: float, epoch: int) -> None:
        known.principal = principal
        if epoch == self.epoch:
            known.until = until

    def drop(self, token: str) -> None:
        known = self._known.pop(token, None)
        if known is None:
            return
        session_id, record_id = known.principal.session_id, known.principal.record_id
        known.until = 0.0
        self._tokens[session_id].discard(token)
        if not self._tokens[session_id]:
            del self._tokens[session_id]
            self._confirmed.discard(session_id)
            self._sessions[record_id].discard(session_id)
            if not self._sessions[record_id]:
                del self._sessions[record_id]

    def forget_session(self, session_id: str) -> None:
        self.epoch += 1
        for token in tuple(self._tokens.get(session_id, ())):
            self.drop(token)

    def forget_record(self, record_id: str, collection_id: str = "") -> None:
        """Every session of the record; without a collection, of the records of that id in every collection."""
        self.epoch += 1
        tokens = [token for session in self._sessions.get(record_id, ()) for token in self._tokens[session]]
        for token in tokens:
            if collection_id in ("", self._known[token].principal.collection_id):
                self.drop(token)

    def is_confirmed(self, session_id: str) -> bool:
        return session_id in self._confirmed

    def confirm(self, session_id: str, *, doubts: int) -> None:
        if doubts == self.doubts and session_id in self._tokens:
            self._confirmed.add(session_id)

    def doubt_record(self, record_id: str) -> None:
        """Of its sessions PocketBase is to be asked again, in whichever collection."""
        self.doubts += 1
        self._confirmed.difference_update(self._sessions.get(record_id, ()))

    def doubt_tokens(self) -> None:
        """Of every session PocketBase is to be asked again."""
        self.doubts += 1
        self._confirmed.clear()

    def doubt_all(self) -> None:
        """Notices may have been missed. Signatures stay verified; of every session the store is to be asked."""
        self.epoch += 1
        for known in self._known.values():
            known.until = 0.0
