"""channels, messages, people, sessions, bans"""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SERVER = (
    """create table chatserver.server_instances (
        id uuid primary key default gen_random_uuid(),
        created_at timestamptz not null default now()
    )""",
    "insert into chatserver.server_instances default values",
    """create table chatserver.rate_limiter (
        id bigint generated always as identity primary key,
        owner_id text not null unique,
        message_limit integer not null check (message_limit > 0),
        window_seconds integer not null check (window_seconds > 0),
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
    )""",
    "insert into chatserver.rate_limiter (owner_id, message_limit, window_seconds) values ('default', 10, 60)",
)

CHANNELS = (
    """create table chatserver.channels (
        id bigint generated always as identity primary key,
        name varchar(24) not null unique,
        description varchar(256),
        sort_order integer not null,
        is_private boolean not null default false,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
    )""",
    "insert into chatserver.channels (name, description, sort_order) values ('general', 'Everybody', 1)",
)

# A message's identity is its place in the log: the log's epoch (when it was created) and its sequence there. The
# channel is kept by id and by the name it had; there is no foreign key, since a message outlives its channel.
MESSAGES = (
    """create table chatserver.chat_messages (
        id bigint generated always as identity primary key,
        stream_epoch bigint not null,
        cache_id bigint not null,
        client_msg_id text,
        owner_id text not null,
        username text not null,
        channel_id bigint not null,
        channel varchar(24) not null,
        message text not null,
        authored_at timestamptz not null,
        created_at timestamptz not null default now(),
        words tsvector generated always as (to_tsvector('english', message)) stored,
        unique (stream_epoch, cache_id),
        unique (owner_id, client_msg_id)
    )""",
    "create index chat_messages_newest on chatserver.chat_messages (authored_at desc, id desc)",
    "create index chat_messages_of_channel on chatserver.chat_messages (channel_id, authored_at desc, id desc)",
    "create index chat_messages_of_owner on chatserver.chat_messages (owner_id, authored_at desc, id desc)",
    "create index chat_messages_words on chatserver.chat_messages using gin (words)",
    """create table chatserver.private_messages (
        id bigint generated always as identity primary key,
        stream_epoch bigint not null,
        cache_id bigint not null,
        client_msg_id text,
        owner_id text not null,
        username text not null,
        recipient_id text not null,
        recipient text not null,
        message text not null,
        authored_at timestamptz not null,
        created_at timestamptz not null default now(),
        unique (stream_epoch, cache_id),
        unique (owner_id, client_msg_id)
    )""",
    "create index private_messages_sent on chatserver.private_messages (owner_id, stream_epoch desc, cache_id desc)",
    "create index private_messages_got on chatserver.private_messages (recipient_id, stream_epoch desc, cache_id desc)",
    """create table chatserver.dead_letters (
        stream_epoch bigint not null,
        cache_id bigint not null,
        subject text not null,
        payload bytea not null,
        reason text not null,
        created_at timestamptz not null default now(),
        primary key (stream_epoch, cache_id)
    )""",
)

PEOPLE = (
    """create table chatserver.users (
        id text primary key,
        username text not null,
        created_at timestamptz not null default now(),
        seen_at timestamptz not null default now()
    )""",
    """create table chatserver.chat_sessions (
        id uuid primary key,
        user_id text not null,
        username text not null,
        client_id text not null,
        start_time timestamptz not null,
        end_time timestamptz not null,
        duration interval generated always as (end_time - start_time) stored
    )""",
    "create index chat_sessions_of_user on chatserver.chat_sessions (user_id, start_time desc)",
    "create index chat_sessions_newest on chatserver.chat_sessions (start_time desc)",
    """create table chatserver.bans (
        id bigint generated always as identity primary key,
        owner_id text not null,
        banished_id text not null,
        reason varchar(256),
        start_time timestamptz not null default now(),
        end_time timestamptz check (end_time > start_time),
        pardoned boolean not null default false,
        created_at timestamptz not null default now(),
        updated_at timestamptz not null default now()
    )""",
    "create index bans_standing on chatserver.bans (banished_id) where not pardoned",
)

TOUCH = (
    """create function chatserver.touch() returns trigger language plpgsql as $$
        begin new.updated_at = now(); return new; end
    $$""",
    *(
        f"""create trigger touch before update on chatserver.{table}
            for each row execute function chatserver.touch()"""
        for table in ("rate_limiter", "channels", "bans")
    ),
)


def upgrade() -> None:
    for statement in (*SERVER, *CHANNELS, *MESSAGES, *PEOPLE, *TOUCH):
        op.execute(statement)
