"""whose bans and pardons the other services have still to be told of"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

STATEMENTS = (
    """create table chatserver.untold (
        user_id text primary key,
        requested_at timestamptz not null default now()
    )""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
