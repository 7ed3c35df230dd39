"""Whether all was heard, whichever of images and heartbeats comes first."""

import pytest

from gateway.core.realtime.image_reader import BEHIND_SECONDS, SILENCE_SECONDS, ImageReader


@pytest.fixture
def reader() -> ImageReader:
    begun = ImageReader()
    begun.beat("e", 2, "s", 0)
    return begun


def test_nothing_is_known_before_the_first_heartbeat() -> None:
    assert not ImageReader().is_current(0)


def test_what_follows_is_next_and_what_came_before_is_old(reader: ImageReader) -> None:
    assert [reader.image("e", number) for number in (1, 2, 3, 3, 4)] == ["old", "old", "next", "old", "next"]
    assert reader.is_current(0)


def test_a_number_that_is_left_out_or_another_epoch_is_a_gap(reader: ImageReader) -> None:
    assert reader.image("e", 4) == "gap"
    assert reader.image("f", 1) == "gap"
    assert reader.image("f", 2) == "next"
    assert reader.beat("g", 0, "s", 0) == "gap"


def test_an_image_may_be_behind_its_heartbeat_for_an_instant(reader: ImageReader) -> None:
    assert reader.beat("e", 3, "s", 1) == "old"
    assert reader.image("e", 3) == "next"
    assert reader.beat("e", 4, "s", 2) == "old"
    assert reader.beat("e", 4, "s", 2 + BEHIND_SECONDS) == "gap"


def test_a_feed_without_images_does_not_count_until_there_are_some(reader: ImageReader) -> None:
    reader.beat("e", 3, "s", 1)
    reader.beat("e", 3, "s", 1 + BEHIND_SECONDS)
    assert not reader.is_current(2)
    reader.beat("f", 0, "s", 2)
    assert not reader.is_current(2), "another epoch is no proof"
    assert reader.image("f", 1) == "next"
    assert reader.is_current(2)


def test_silence_and_a_loss_end_what_is_known(reader: ImageReader) -> None:
    assert reader.is_current(SILENCE_SECONDS - 0.1)
    assert not reader.is_current(SILENCE_SECONDS)
    reader.miss()
    assert not reader.is_current(0)
    assert reader.beat("e", 5, "s", 1) == "gap"
    assert reader.is_current(1)


def test_other_rules_are_a_gap(reader: ImageReader) -> None:
    assert reader.beat("e", 2, "other", 1) == "gap"
    assert reader.beat("e", 2, "other", 2) == "old"
