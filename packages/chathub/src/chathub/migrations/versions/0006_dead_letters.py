"""whose words a dead letter holds and which message it is about, so that deletions reach it"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# What is there already cannot always be read: such a letter is about its own place, and nobody's.
STATEMENTS = (
    """alter table chatserver.dead_letters
        add column owner_id text, add column about_epoch bigint, add column about bigint""",
    """do $$
        declare letter record;
        begin
            for letter in select * from chatserver.dead_letters loop
                begin
                    update chatserver.dead_letters d
                    set owner_id = told ->> 'owner_id',
                        about_epoch = coalesce((told ->> 'target_epoch')::bigint, d.stream_epoch),
                        about = coalesce((told ->> 'target')::bigint, d.cache_id)
                    from (select convert_from(letter.payload, 'UTF8')::jsonb as told) heard
                    where d.stream_epoch = letter.stream_epoch and d.cache_id = letter.cache_id;
                exception when others then
                    update chatserver.dead_letters d set about_epoch = d.stream_epoch, about = d.cache_id
                    where d.stream_epoch = letter.stream_epoch and d.cache_id = letter.cache_id;
                end;
            end loop;
        end
    $$""",
    """alter table chatserver.dead_letters
        alter column about_epoch set not null, alter column about set not null""",
    "create index dead_letters_about on chatserver.dead_letters (about_epoch, about)",
    "create index dead_letters_of_owner on chatserver.dead_letters (owner_id)",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)
