"""private channels, the moderation log, sessions that outlive their node, purges"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

MEMBERS = (
    "alter table chatserver.channels add column members_version bigint not null default 0",
    """create table chatserver.channel_members (
        channel_id bigint not null references chatserver.channels (id) on delete cascade,
        user_id text not null,
        added_by text not null,
        created_at timestamptz not null default now(),
        primary key (channel_id, user_id)
    )""",
    "alter table chatserver.chat_messages add column members_version bigint",
    """create index chat_messages_open on chatserver.chat_messages (stream_epoch desc, cache_id desc)
        where members_version is null""",
    """create index chat_messages_closed on chatserver.chat_messages (stream_epoch desc, cache_id desc)
        where members_version is not null""",
    "create index chat_messages_of_channel_in_order on chatserver.chat_messages (channel_id, stream_epoch, cache_id)",
)

# An entry's seal is made from the entry and the seal before it; the numbers are without gaps.
MODERATION = (
    """create table chatserver.moderation_log (
        id bigint primary key,
        at timestamptz not null,
        actor_id text not null,
        action text not null,
        subject text not null,
        details jsonb not null,
        seal bytea not null
    )""",
    "create index moderation_log_of_actor on chatserver.moderation_log (actor_id, id desc)",
    "create index moderation_log_on_subject on chatserver.moderation_log (subject, id desc)",
    "create index moderation_log_of_kind on chatserver.moderation_log (action, id desc)",
    """create function chatserver.refuse() returns trigger language plpgsql as $$
        begin raise exception 'the moderation log is only added to'; end
    $$""",
    """create trigger only_added_to before update or delete or truncate on chatserver.moderation_log
        for each statement execute function chatserver.refuse()""",
    """create table chatserver.purges (
        owner_id text primary key,
        actor_id text not null,
        purged bigint not null default 0,
        requested_at timestamptz not null default now(),
        claimed_until timestamptz not null default now()
    )""",
)

SESSIONS = (
    """create table chatserver.nodes (
        id text primary key,
        seen_at timestamptz not null
    )""",
    "alter table chatserver.chat_sessions alter column end_time drop not null",
    "alter table chatserver.chat_sessions add column node text",
    "create index chat_sessions_open on chatserver.chat_sessions (node) where end_time is null",
    "create index users_named on chatserver.users (lower(username), id)",
)


def upgrade() -> None:
    for statement in (*MEMBERS, *MODERATION, *SESSIONS):
        op.execute(statement)
