"""Every option that pb-nats documents is mapped, to settings that there are."""

import re
from pathlib import Path

from natsync.settings import Settings

DOCS = Path(__file__).parents[3] / "docs" / "reference"
PAGES = "".join((DOCS / name).read_text() for name in ("natsync.md", "nats-servers.md"))
OPTIONS = re.findall(
    r"\w+",
    """
    UserCollectionName RoleCollectionName AccountCollectionName NATSServerURL BackupNATSServerURLs OperatorName
    MaxPrimaryRetries InitialBackoff MaxBackoff BackoffMultiplier FailbackInterval
    ConnectTimeout PublishTimeout RequestTimeout
    PublishQueueInterval DebounceInterval FailedRecordCleanupInterval FailedRecordRetentionTime
    DefaultPublishPermissions DefaultSubscribePermissions DefaultJWTExpiry LogToConsole EventFilter
""",
)


def test_every_option_of_pbnats_is_in_a_table() -> None:
    tables = "\n".join(line for line in PAGES.splitlines() if line.startswith("| `"))
    assert [option for option in OPTIONS if f"`{option}`" not in tables] == []


def test_every_setting_that_is_named_exists() -> None:
    named = set(re.findall(r"`NATSYNC_([A-Z_]+)`", PAGES))
    assert named
    assert {name for name in named if name.lower() not in Settings.model_fields} == set()
