"""How much a test tries: little in every run, and with POCKETWIRE_EXAMPLES all that is promised.

POCKETWIRE_EXAMPLES=2000 just test tests/integration/gateway/test_read_differential.py -s --hypothesis-seed=1
"""

import os

import pytest
from hypothesis import Phase, settings

IS_THOROUGH = "POCKETWIRE_EXAMPLES" in os.environ


def examples(usual: int) -> int:
    return int(os.environ.get("POCKETWIRE_EXAMPLES", usual))


def times(usual: int, promised: int) -> int:
    """How often, or how much, where the whole of it takes long."""
    return promised if IS_THOROUGH else usual


def worlds(usual: int) -> settings:
    """For tests whose examples are seeds: the same few in every run, and nothing to be shrunk."""
    phases = (Phase.explicit, Phase.reuse, Phase.generate)
    return settings(max_examples=examples(usual), derandomize=not IS_THOROUGH, phases=phases)


takes_its_time = pytest.mark.timeout(0 if IS_THOROUGH else 180)
"""Only few examples are bounded in time."""
