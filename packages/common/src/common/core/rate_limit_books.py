"""The books of many keys in memory. Their number is bounded: the key asked about longest ago is forgotten first."""

from collections import OrderedDict

from common.core.rate_limit import Answer, Ask, Books, decide

EMPTY = Books()
SWEPT_PER_ASK = 2
"""More than one, so that books that ran out are cleared faster than new ones are opened."""


class Ledger:
    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._books: OrderedDict[bytes, tuple[Books, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._books)

    def decide(self, ask: Ask, now_us: int) -> Answer:
        books, _ = self._books.get(ask.key, (EMPTY, 0))
        written, answer = decide(books, ask, now_us)
        if written is not EMPTY:
            lasts_us = now_us + ask.terms.every_us + ask.terms.lease_us
            self._books[ask.key] = written, max(lasts_us, written.penalised_until_us)
            self._books.move_to_end(ask.key)
        self._sweep(now_us)
        return answer

    def _sweep(self, now_us: int) -> None:
        for _ in range(SWEPT_PER_ASK):
            if not self._books:
                return
            key = next(iter(self._books))
            if self._books[key][1] > now_us and len(self._books) <= self._max_keys:
                return
            del self._books[key]
