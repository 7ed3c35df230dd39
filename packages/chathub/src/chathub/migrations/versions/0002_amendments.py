"""what becomes of messages later: edits, deletions, purged channels; who ended a ban"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# An amendment may be stored before the message that it amends: nodes work off the log beside each other.
STATEMENTS = (
    """create table chatserver.amendments (
        target_epoch bigint not null,
        target bigint not null,
        stream_epoch bigint not null,
        cache_id bigint not null,
        actor_id text not null,
        message text,
        authored_at timestamptz not null,
        created_at timestamptz not null default now(),
        primary key (target_epoch, target)
    )""",
    """create table chatserver.purged_channels (
        channel_id bigint primary key,
        created_at timestamptz not null default now()
    )""",
    "alter table chatserver.bans add column pardoned_by text",
    "alter table chatserver.bans add column pardoned_at timestamptz",
    "create index bans_newest on chatserver.bans (id desc)",
    "create index dead_letters_newest on chatserver.dead_letters (created_at desc)",
    "alter table chatserver.chat_messages drop constraint chat_messages_owner_id_client_msg_id_key",
    "alter table chatserver.private_messages drop constraint private_messages_owner_id_client_msg_id_key",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
