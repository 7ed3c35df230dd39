"""up to where each log was stored, so that one that was set back is noticed and a new one goes on from there"""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table chatserver.logs (
        epoch bigint primary key,
        last bigint not null
    )""",
    """insert into chatserver.logs (epoch, last)
        select stream_epoch, max(cache_id) from (
            select stream_epoch, cache_id from chatserver.chat_messages
            union all select stream_epoch, cache_id from chatserver.private_messages
            union all select stream_epoch, cache_id from chatserver.amendments
            union all select stream_epoch, cache_id from chatserver.dead_letters
        ) stored group by stream_epoch""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
