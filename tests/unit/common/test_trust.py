import math

import pytest

from common.core.errors import InvalidRequest
from common.core.trust import Doubt, Trust


def test_without_sources_there_is_nothing_to_doubt() -> None:
    trust = Trust((), 3)
    assert trust.until == math.inf
    assert trust.doubt(1e9) is None


def test_a_source_that_was_never_heard_is_doubted() -> None:
    doubt = Trust(("records",), 3).doubt(5)
    assert doubt
    assert str(doubt) == "records has not been heard yet"


def test_trust_ends_when_a_source_has_been_silent_for_too_long() -> None:
    trust = Trust(("records", "prices"), 3)
    trust.heard("records", "e1", 10)
    trust.heard("prices", "e1", 11)
    assert trust.until == 13
    assert trust.doubt(12.999) is None
    assert trust.doubt(14) == Doubt("records", 4)
    assert str(trust.doubt(14)) == "records has been silent for 4.0 s"


def test_one_run_heard_in_time_drops_nothing() -> None:
    trust = Trust(("records",), 3)
    trust.heard("records", "e1", 10)
    assert trust.heard("records", "e1", 12.9) is None


def test_the_first_word_another_run_and_a_return_after_silence_drop_everything() -> None:
    trust = Trust(("records",), 3)
    assert trust.heard("records", "e1", 10) == "records began to be heard"
    assert trust.heard("records", "e2", 11) == "records began anew"
    assert trust.heard("records", "e2", 14) == "records came back after 3.0 s of silence"


def test_a_source_that_nobody_waits_for_is_refused_by_name() -> None:
    with pytest.raises(InvalidRequest, match="source: 'rumours'"):
        Trust(("records",), 3).heard("rumours", "e1", 0)
