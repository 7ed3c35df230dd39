"""The doubles that the cache is tested with do what the real ones do."""

import time

import pytest

from tests.contracts import invalidations, shared_tier
from tests.fakes.invalidations import BusServer, InMemoryInvalidations
from tests.fakes.shared_tier import InMemorySharedTier, Store


class TestSharedTierInMemory(shared_tier.SharedTierContract):
    @pytest.fixture
    def bench(self) -> shared_tier.Bench:
        store = Store(time.monotonic)

        async def forget() -> None:
            store.epochs.clear()

        return shared_tier.Bench(InMemorySharedTier(store), InMemorySharedTier(store), forget)


class TestInvalidationsInMemory(invalidations.InvalidationsContract):
    @pytest.fixture
    def bench(self) -> invalidations.Bench:
        server = BusServer()
        return invalidations.Bench(InMemoryInvalidations(server), InMemoryInvalidations(server))
