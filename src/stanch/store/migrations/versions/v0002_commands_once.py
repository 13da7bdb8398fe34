"""Finding out which timeline fulfilled an obligation, such as a command that arrives again."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("fired_obligation", "fired", ["obligation"])


def downgrade() -> None:
    raise NotImplementedError("a journal is never taken down")
