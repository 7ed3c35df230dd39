"""Every option that pb-nats has is told with its setting, and those settings exist."""

import re
from pathlib import Path

import pytest

from common.serving.settings import variable_name
from natsync.settings import Settings

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "nats-servers.md"
OPTIONS = (
    "UserCollectionName RoleCollectionName AccountCollectionName NATSServerURL BackupNATSServerURLs OperatorName "
    "MaxPrimaryRetries InitialBackoff MaxBackoff BackoffMultiplier FailbackInterval ConnectTimeout PublishTimeout "
    "RequestTimeout PublishQueueInterval DebounceInterval FailedRecordCleanupInterval FailedRecordRetentionTime "
    "DefaultPublishPermissions DefaultSubscribePermissions DefaultJWTExpiry LogToConsole EventFilter"
).split()


@pytest.mark.parametrize("option", OPTIONS)
def test_it_is_in_the_table_with_a_setting_that_exists(option: str) -> None:
    row = re.search(rf"^\| `{option}` \| (.+?) \|", PAGE.read_text(), re.MULTILINE)
    assert row, option
    named = set(re.findall(r"`((?:NATSYNC_|NATS_)[A-Z_]+)`", row[1]))
    assert named
    assert named <= {variable_name(Settings, (name,)) for name in Settings.model_fields}
