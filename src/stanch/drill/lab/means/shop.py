"""Tables of some age and size, and applications that have worked on them for long."""

from __future__ import annotations

from dataclasses import dataclass

from stanch.drill.lab.means import words
from stanch.drill.lab.means.traffic import KEYS, Running, Traffic, begin, unused_table
from stanch.drill.lab.rig import Rig

ROWS = (300_000, 480_000)
"""A table that is read whole in tens of milliseconds: each time too long, and soon made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """A large table that an application works on."""

    table: str
    key: str
    keys: int
    """As many different values of `key`."""
    rows: int
    application: str

    def by_id(self) -> str:
        return f"\\set n random(1, {self.rows})\nSELECT * FROM {self.table} WHERE id = :n;\n"

    def by_key(self, number: str = "") -> str:
        """The newest rows of one key, which is drawn by chance unless an expression is given."""
        return (
            f"\\set n {number or f'random(1, {self.keys})'}\n"
            f"SELECT id, state, amount FROM {self.table} WHERE {self.key} = :n"
            " ORDER BY made_at DESC LIMIT 20;\n"
        )

    def latest(self) -> str:
        return f"SELECT id, state, amount FROM {self.table} ORDER BY made_at DESC LIMIT 20;\n"

    def sums(self, span: int) -> str:
        """Some work for the processor: so many rows added up."""
        return (
            f"\\set n random(1, {max(1, self.rows - span)})\n"
            f"SELECT state, count(*), sum(amount), max(md5(note)) FROM {self.table}"
            f" WHERE id BETWEEN :n AND :n + {span} GROUP BY state;\n"
        )


def make_shop(
    rig: Rig, *, rows: tuple[int, int] = ROWS, key_sql: str = "", indexed: tuple[str, ...] = ()
) -> Shop:
    """Make the table as it has been for long: filled, indexed, vacuumed, analysed.

    `key_sql` says the key of row `n`; without it chance does. `indexed` are columns besides `id`;
    `key` stands for the key.
    """
    rng = rig.rng
    made = Shop(
        table=unused_table(rig),
        key=rng.choice(KEYS),
        keys=rng.randint(5_000, 15_000),
        rows=rng.randint(*rows),
        application=words.application(rng),
    )
    key_sql = key_sql or f"1 + (random() * {made.keys - 1})::int"
    rig.sql(f"""
        CREATE TABLE {made.table} AS
        SELECT n::bigint AS id, ({key_sql})::int AS {made.key},
               (ARRAY['new', 'paid', 'sent', 'done'])[1 + (n % 4)] AS state,
               (random() * 500)::numeric(10, 2) AS amount, md5(n::text) AS note,
               now() - ({made.rows} - n) * interval '7 seconds' AS made_at
        FROM generate_series(1, {made.rows}) n
    """)
    rig.sql(f"ALTER TABLE {made.table} ADD PRIMARY KEY (id)")
    for column in indexed:
        name = made.key if column == "key" else column
        rig.sql(f"CREATE INDEX {made.table}_{name}_idx ON {made.table} ({name})")
    rig.sql(f"VACUUM (ANALYZE) {made.table}")
    return made


def usual_work(rig: Rig, made: Shop, *scripts: str) -> tuple[Traffic, Running]:
    """Its application begins, at a pace that this server keeps easily."""
    usual = Traffic(
        application=made.application,
        scripts=scripts,
        sessions=rig.rng.randint(3, 6),
        per_second=rig.rng.randint(40, 90),
    )
    return usual, begin(rig, usual)


@dataclass(slots=True, kw_only=True)
class Ledgers:
    """Two tables that an application compares with each other, one key at a time."""

    ours: str
    theirs: str
    key: str

    def fill(self, rig: Rig, keys_sql: str, rows: int, application: str = "") -> None:
        """More rows in both; `keys_sql` says the key of row `n`."""
        for table in (self.ours, self.theirs):
            rig.sql(
                f"INSERT INTO {table} ({self.key}, ref, amount)"
                f" SELECT {keys_sql}, md5(n || '.' || {keys_sql}), (random() * 500)::numeric(10, 2)"
                f" FROM generate_series(1, {rows}) n",
                application_name=application,
            )

    def analyse(self, rig: Rig) -> None:
        for table in (self.ours, self.theirs):
            rig.sql(f"VACUUM (ANALYZE) {table}")

    def compare(self, key: int | str) -> str:
        return (
            f"SELECT count(*), sum(o.amount - t.amount) FROM {self.ours} o"
            f" JOIN {self.theirs} t ON t.ref = o.ref"
            f" WHERE o.{self.key} = {key} AND t.{self.key} = {key}"
        )


def make_ledgers(rig: Rig, key: str) -> Ledgers:
    """Both tables, empty."""
    names: list[str] = []
    for _ in range(2):
        names.append(unused_table(rig))
        rig.sql(f"""
            CREATE TABLE {names[-1]} (
                id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                {key} int NOT NULL, ref text NOT NULL, amount numeric(10, 2) NOT NULL
            )
        """)
        rig.sql(f"CREATE INDEX {names[-1]}_{key}_idx ON {names[-1]} ({key})")
    return Ledgers(ours=names[0], theirs=names[1], key=key)
