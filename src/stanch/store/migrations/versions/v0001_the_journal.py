"""The journal, and what is derived from it or stands beside it."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _journal()
    _derived()
    _beside()


def downgrade() -> None:
    raise NotImplementedError("a journal is never taken down")


def _journal() -> None:
    op.create_table(
        "journal",
        sa.Column("writer_id", sa.Text, nullable=False),
        sa.Column("n", sa.Integer, nullable=False),
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("basis_seq", sa.Integer, nullable=False),
        sa.Column("at_us", sa.Integer, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("prev_hash", sa.LargeBinary, nullable=False),
        sa.Column("hash", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("writer_id", "n"),
        sa.UniqueConstraint("incident_id", "seq"),
    )
    op.execute("""
        CREATE TRIGGER journal_no_update BEFORE UPDATE ON journal
        BEGIN SELECT RAISE(ABORT, 'events are never changed'); END""")
    op.execute("""
        CREATE TRIGGER journal_no_delete BEFORE DELETE ON journal
        BEGIN SELECT RAISE(ABORT, 'events are never deleted'); END""")
    op.execute("""
        CREATE TRIGGER journal_only_extended BEFORE INSERT ON journal
        WHEN NEW.n <> 1 + (SELECT coalesce(max(n), 0) FROM journal
                           WHERE writer_id = NEW.writer_id)
          OR NEW.seq <> 1 + (SELECT coalesce(max(seq), 0) FROM journal
                             WHERE incident_id = NEW.incident_id)
        BEGIN SELECT RAISE(ABORT, 'events are only ever appended'); END""")


def _derived() -> None:
    op.create_table(
        "incident",
        sa.Column("incident_id", sa.Text, primary_key=True, nullable=False),
        sa.Column("opened_n", sa.Integer, nullable=False),
        sa.Column("opened_us", sa.Integer, nullable=False),
        sa.Column("is_open", sa.Integer, nullable=False),
    )
    op.create_table(
        "wake",
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("due_us", sa.Integer),
        sa.Column("owner", sa.Text),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_until_us", sa.Integer),
        sa.PrimaryKeyConstraint("incident_id", "lane"),
    )
    op.create_index("wake_due", "wake", ["lane", "due_us"])
    op.create_table(
        "fired",
        sa.Column("incident_id", sa.Text, nullable=False),
        sa.Column("obligation", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("incident_id", "obligation"),
    )


def _beside() -> None:
    op.create_table(
        "blob",
        sa.Column("key", sa.Text, primary_key=True, nullable=False),
        sa.Column("salt", sa.LargeBinary),
        sa.Column("content", sa.LargeBinary),
        sa.Column("erased_us", sa.Integer),
    )
    op.create_table(
        "policy",
        sa.Column("hash", sa.Text, primary_key=True, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "meta",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("value", sa.Text, nullable=False),
    )
