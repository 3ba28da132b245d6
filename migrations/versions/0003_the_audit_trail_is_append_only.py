"""The audit trail is append-only: the database itself refuses to change or delete a row."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        create function refuse_change() returns trigger language plpgsql as $$
        begin
            raise exception '% is append-only', tg_table_name;
        end $$
        """
    )
    op.execute(
        """
        create trigger append_only before update or delete or truncate on audit_trail
        for each statement execute function refuse_change()
        """
    )


def downgrade() -> None:
    op.execute("drop trigger append_only on audit_trail")
    op.execute("drop function refuse_change()")
