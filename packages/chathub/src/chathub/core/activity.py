"""What dashboards are shown of the past days."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DayOfSessions:
    """`total_duration` is what PostgreSQL calls an interval, as in `01:02:03`."""

    session_date: str
    session_count: int
    total_duration: str


@dataclass(frozen=True, slots=True)
class ChannelCount:
    channel: str
    message_count: int
