"""Signals from outside, and the heartbeats that have to arrive: rows beside the timelines."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "signal",
        sa.Column("id", sa.Text, primary_key=True, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("severity", sa.Text, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.Column("starts_us", sa.Integer),
        sa.Column("ends_us", sa.Integer),
        sa.Column("occurred_us", sa.Integer),
        sa.Column("labels", sa.Text, nullable=False),
        sa.Column("links", sa.Text, nullable=False),
        sa.Column("reported", sa.Integer, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("target", sa.Text),
        sa.Column("rank", sa.Integer, nullable=False),
        sa.Column("first_us", sa.Integer, nullable=False),
        sa.Column("heard_us", sa.Integer, nullable=False),
        sa.Column("changed_us", sa.Integer, nullable=False),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("changes", sa.Integer, nullable=False),
        sa.Column("told", sa.Text),
        sa.Column("owed_us", sa.Integer),
        sa.Column("incident_id", sa.Text),
        sa.Column("symptom", sa.Text, nullable=False),
    )
    op.create_index("signal_owed", "signal", ["owed_us"])
    op.create_index("signal_of_source", "signal", ["source", "status", "heard_us"])
    op.create_index("signal_of_incident", "signal", ["incident_id"])
    op.create_table(
        "heartbeat",
        sa.Column("name", sa.Text, primary_key=True, nullable=False),
        sa.Column("since_us", sa.Integer, nullable=False),
        sa.Column("heard_us", sa.Integer),
        sa.Column("times", sa.Integer, nullable=False),
        sa.Column("grace_us", sa.Integer),
    )


def downgrade() -> None:
    raise NotImplementedError("a journal is never taken down")
