import gc
import tracemalloc
from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from common.core.epochs import EpochTable
from common.core.memory_tier import Entry, MemoryTier, entry_size_bytes


def entry(size_bytes: int) -> Entry[bytes]:
    return Entry(b"", "hit", (), (1,), 0, 0.0, 1.0, size_bytes)


ops = st.lists(st.tuples(st.sampled_from(["keep", "touch", "look"]), st.integers(0, 8), st.integers(1, 40)))


@given(ops)
def test_what_was_used_last_stays_and_the_bytes_stay_within_the_limit(ops: list[tuple[str, int, int]]) -> None:
    evicted: list[str] = []
    tier: MemoryTier[bytes] = MemoryTier(160, evicted.append)
    model: OrderedDict[str, int] = OrderedDict()
    for op, number, size in ops:
        key = str(number)
        if op == "keep":
            kept = tier.keep(key, entry(size))
            assert kept is (size <= 20)
            model.pop(key, None)
            if kept:
                model[key] = size
                while sum(model.values()) > 160:
                    model.popitem(last=False)
        elif op == "touch" and key in model:
            assert tier[key].size_bytes == model[key]
            model.move_to_end(key)
        elif op == "look":
            found = tier.look(key)
            assert (found and found.size_bytes) == model.get(key)
        assert set(tier) == set(model)
        assert tier.currsize == sum(model.values()) <= 160
    assert not set(evicted) & set(model) or len(evicted) > 0


def test_the_bytes_said_to_be_used_are_no_fewer_than_those_that_are() -> None:
    number, value_bytes = 5_000, 300
    epochs = EpochTable(100_000)
    gc.collect()
    tracemalloc.start()
    tier: MemoryTier[bytes] = MemoryTier(10**9, lambda _: None)
    for index in range(number):
        key, tags = f"key:{index}", (f"tag:{index}", f"list:{index}")
        value = bytes(value_bytes)
        size = entry_size_bytes(key, tags, value.__sizeof__() + 16)
        stamp = epochs.stamp(tags)
        tier.keep(key, Entry(value, "hit", tags, stamp, 0, index * 1.1, index * 1.3, size))
    gc.collect()
    really, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tier) == number
    assert really < tier.currsize < 1.5 * really
