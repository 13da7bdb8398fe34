"""Damage to what is stored: pages, indexes, TOAST values, catalogues, the order of a collation."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means import pages, site, words
from stanch.drill.lab.means.site import Site
from stanch.drill.lab.means.tables import free_name
from stanch.drill.lab.rig import Rig, Session

# So small that pages leave it again soon: damage on disk is met by the next reader.
SMALL_CACHE = {"shared_buffers": "8MB"}

NOTE = "damage"

Act = Callable[[Rig], None]

# --- what is there before -----------------------------------------------------------------------


def _read_table(rig: Rig) -> None:
    """A table that is larger than the cache and only read."""
    made = site.make_site(rig, rows=rig.rng.randint(25_000, 45_000), width=rig.rng.randint(9, 14))
    rig.notes[NOTE] = made
    site.lively(rig, made, made.reading)
    site.goes_on(rig, made.overview, application="dashboard", pause_s=rig.rng.uniform(0.4, 1.5))


def _busy_table(rig: Rig) -> None:
    made = site.make_site(rig, rows=rig.rng.randint(2_000, 20_000))
    rig.notes[NOTE] = made
    site.lively(rig, made)


def _documents(rig: Rig) -> None:
    """A table whose texts are kept out of line."""
    made = site.make_site(rig, rows=rig.rng.randint(300, 900), width=0)
    chunks = rig.rng.randint(200, 500)
    rig.sql(
        f"UPDATE {made.table} SET {made.text} = (SELECT string_agg(md5(n::text || id), '')"
        f" FROM generate_series(1, {chunks}) n)"
    )
    site.settle(rig, made.table)
    rig.notes[NOTE] = made
    site.lively(rig, made, made.reading)


# --- tables -------------------------------------------------------------------------------------


def _heap_page_garbled(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]

    def harm(file: Path) -> None:
        for block in rig.rng.sample(range(1, pages.count(file) - 1), rig.rng.randint(2, 8)):
            pages.garble(rig, file, block)

    pages.damage_table(rig, made.table, harm)
    rig.logged("invalid page in block")


def _table_file_cut(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]

    def harm(file: Path) -> None:
        pages.cut(file, int(pages.count(file) * rig.rng.uniform(0.3, 0.9)))

    pages.damage_table(rig, made.table, harm)
    rig.logged("could not read block")


# --- indexes ------------------------------------------------------------------------------------


def _index_out_of_order(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    index = f"{made.table}_pkey"

    def harm(file: Path) -> None:
        block = rig.rng.choice(pages.leaves(file)[:-1])
        page = pages.read(file, block)
        last = pages.line_pointers(page)
        # The first one is the page's upper bound.
        pages.swap(page, rig.rng.randint(2, last // 2), rig.rng.randint(last // 2 + 1, last))
        pages.seal(page, block)
        pages.write(file, block, page)

    pages.damage_index(rig, index, harm)
    _check(rig, made.table, index)
    rig.logged("item order invariant violated")


def _check(rig: Rig, table: str, index: str) -> None:
    """Somebody wonders about rows that come and go, and has the indexes checked."""
    rig.admin("CREATE EXTENSION IF NOT EXISTS amcheck")
    program = rig.server.binaries.program("pg_amcheck")
    if rig.server.options.auth == "trust" and program.exists() and rig.rng.random() < 0.4:
        whom = ("-h", "127.0.0.1", "-p", str(rig.server.port), "-U", "postgres")
        rig.server.folder.run([program, *whom, "--table", table, "app"])
        return
    session = rig.as_superuser()
    rig.run(session, "SET application_name = 'psql'")
    for _ in range(rig.rng.randint(1, 3)):
        try:
            rig.run(session, f"SELECT bt_index_check('{index}')")
        except psycopg.Error:
            continue
        raise NotMade("the index is in order all the same")
    if rig.rng.random() < 0.5:
        session.close()


def _some_leaves(rig: Rig, file: Path) -> list[int]:
    found = pages.leaves(file)
    return rig.rng.sample(found, max(2, len(found) * rig.rng.randint(3, 25) // 100))


def _index_page_lost(rig: Rig) -> None:
    """Filled with zeros, or another file's page was written in its place."""
    made: Site = rig.notes[NOTE]
    foreign = pages.file_of(rig, made.table) if rig.rng.random() < 0.5 else None

    def harm(file: Path) -> None:
        for block in _some_leaves(rig, file):
            pages.write(file, block, pages.read(foreign, block) if foreign else bytes(pages.PAGE))

    pages.damage_index(rig, f"{made.table}_pkey", harm)
    rig.logged("contains corrupted page" if foreign else "contains unexpected zero page")


def _index_page_garbled(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]

    def harm(file: Path) -> None:
        for block in _some_leaves(rig, file):
            pages.garble(rig, file, block)

    pages.damage_index(rig, f"{made.table}_pkey", harm)
    rig.logged("invalid page in block")


def _index_file_cut(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]

    def harm(file: Path) -> None:
        pages.cut(file, int(pages.count(file) * rig.rng.uniform(0.4, 0.9)))

    pages.damage_index(rig, f"{made.table}_pkey", harm)
    rig.logged("could not read block")


# --- TOAST --------------------------------------------------------------------------------------


def _toast_lost(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    found = rig.admin(
        "SELECT reltoastrelid::regclass::text, reltoastrelid::int8 FROM pg_class"
        " WHERE oid = %s::regclass",
        (made.table,),
    )
    toast, oid = str(found[0][0]), int(found[0][1])

    def harm(file: Path) -> None:
        blocks = range(pages.count(file))
        for block in rig.rng.sample(blocks, max(3, len(blocks) * rig.rng.randint(5, 30) // 100)):
            pages.write(file, block, bytes(pages.PAGE))

    if rig.rng.random() < 0.5:
        pages.damage_table(rig, toast, harm)
    else:
        _lose_chunks(rig, toast, oid)
    rig.until(lambda: _says(rig, "missing chunk number", "unexpected chunk number"))


def _lose_chunks(rig: Rig, toast: str, oid: int) -> None:
    """Chunks of some values are gone: rows of a TOAST table, which nobody may delete as such."""
    values = f"chunk_id::int8 % {rig.rng.randint(2, 8)} = 0"
    parts = rig.rng.choice(("chunk_seq = 0", "chunk_seq > 0", "true"))
    with _unseen(rig) as session:
        rig.run(session, f"UPDATE pg_class SET relkind = 'r' WHERE oid = {oid}")
        rig.run(session, f"DELETE FROM {toast} WHERE {values} AND {parts}")
        rig.run(session, f"UPDATE pg_class SET relkind = 't' WHERE oid = {oid}")
    # Deleted chunks are read all the same until they are cleared away.
    dead = f"SELECT 1 FROM pg_stat_all_tables WHERE relid = {oid} AND n_dead_tup > 0"
    rig.until(lambda: rig.admin(f"VACUUM {toast}") or not rig.admin(dead))


# --- catalogues ---------------------------------------------------------------------------------


def _catalogue_row_lost(rig: Rig) -> None:
    made: Site = rig.notes[NOTE]
    lost = rig.rng.choice(("index", "sequence", "attribute"))
    rows = {
        "index": f"pg_class WHERE oid = '{made.table}_pkey'::regclass",
        "sequence": f"pg_class WHERE oid = '{made.table}_id_seq'::regclass",
        "attribute": (
            f"pg_attribute WHERE attrelid = '{made.table}'::regclass"
            f" AND attname = '{rig.rng.choice((made.value, made.state, made.text))}'"
        ),
    }
    with _unseen(rig) as session:
        rig.run(session, f"DELETE FROM {rows[lost]}")
    rig.until(lambda: _says(rig, "could not open relation with OID", "attribute(s) for relation"))


@contextmanager
def _unseen(rig: Rig) -> Generator[Session]:
    """A superuser's transaction that leaves no word in the log: what it does, a disk did."""
    with (
        rig.server.connect(dbname="app", options="-c log_statement=none") as session,
        session.transaction(),
    ):
        yield session


def _says(rig: Rig, *texts: str) -> bool:
    said = rig.server.log_text()
    return any(text in said for text in texts)


# --- collations ---------------------------------------------------------------------------------

OLDER = {"i": ("58.0.6.50", "153.14", "153.80"), "b": ("0", "0.9")}
"""Versions that a provider had once."""


def _names(rig: Rig) -> None:
    """Names in an order that is not the C locale's, by the database or by a column."""
    by_database = rig.rng.random() < 0.5
    icu = rig.admin("SELECT 1 FROM pg_collation WHERE collname = 'en-x-icu'")
    provider, collation = ("i", "en-x-icu") if icu else ("b", "pg_c_utf8")
    if by_database:
        _set_order(rig, provider)
    table = free_name(rig)
    order = "" if by_database else f' COLLATE "{collation}"'
    rig.sql(f"CREATE TABLE {table} (id bigint PRIMARY KEY, name text{order} NOT NULL)")
    rows = rig.rng.randint(500, 20_000)
    rig.sql(f"INSERT INTO {table} SELECT n, md5(n::text) FROM generate_series(1, {rows}) n")
    rig.sql(f"CREATE INDEX ON {table} (name)")
    site.settle(rig, table)
    site.log_statements(rig)
    site.goes_on(
        rig,
        lambda rng: f"SELECT id FROM {table} WHERE name > '{rng.random()}' ORDER BY name LIMIT 5",
        application=words.application(rig.rng),
        pause_s=rig.rng.uniform(0.1, 1.0),
        # Without a pool: every request logs in.
        anew=True,
    )
    rig.notes[NOTE] = (provider, None if by_database else collation)


def _set_order(rig: Rig, provider: str) -> None:
    """The empty database `app` as if it had been created with that provider."""
    column = "datlocale" if rig.server.binaries.major >= 17 else "daticulocale"
    locale = {"i": "en-US", "b": "C.UTF-8"}[provider]
    rig.admin(
        f"UPDATE pg_database SET datlocprovider = '{provider}', {column} = '{locale}'"
        " WHERE datname = 'app'"
    )
    rig.admin(
        "UPDATE pg_database SET datcollversion = pg_database_collation_actual_version(oid)"
        " WHERE datname = 'app'"
    )


def _collation_moved(rig: Rig) -> None:
    provider, collation = rig.notes[NOTE]
    older = rig.rng.choice(OLDER[provider])
    with _unseen(rig) as session:
        if collation is None:
            where = f"pg_database SET datcollversion = '{older}' WHERE datname = 'app'"
        else:
            where = f"pg_collation SET collversion = '{older}' WHERE collname = '{collation}'"
        rig.run(session, f"UPDATE {where}")
    if rig.rng.random() < 0.5:
        rig.server.restart()
    rig.logged("version mismatch")


def _fault(
    name: str, story: str, cause: str, *, make: Act, prepare: Act, small_cache: bool = False
) -> Fault:
    return Fault(
        id=name,
        area=Area.DATA,
        story=story,
        causes=(cause,),
        make=make,
        needs=Needs(conf=SMALL_CACHE if small_cache else {}, prepare=(prepare,)),
        # Only some of the reads meet what is damaged.
        shows_after_s=4.0,
    )


FAULTS = (
    _fault(
        "heap-page-garbled",
        "The disk wrote rubbish into a few pages of a table; whoever reads them gets errors.",
        "page_corruption",
        make=_heap_page_garbled,
        prepare=_read_table,
        small_cache=True,
    ),
    _fault(
        "table-file-cut",
        "A file system check cut off the end of a table's file.",
        "page_corruption",
        make=_table_file_cut,
        prepare=_read_table,
        small_cache=True,
    ),
    _fault(
        "index-out-of-order",
        "Rows came and went depending on the query; amcheck then found an index in disorder.",
        "index_corruption",
        make=_index_out_of_order,
        prepare=_read_table,
    ),
    _fault(
        "index-page-lost",
        "Pages of an index were filled with zeros or written over with another file's.",
        "index_corruption",
        make=_index_page_lost,
        prepare=_read_table,
    ),
    _fault(
        "index-page-garbled",
        "The disk wrote rubbish into pages of a primary key's index; the table is whole.",
        "index_corruption",
        make=_index_page_garbled,
        prepare=_read_table,
    ),
    _fault(
        "index-file-cut",
        "The end of an index's file is gone; the table is whole.",
        "index_corruption",
        make=_index_file_cut,
        prepare=_read_table,
    ),
    _fault(
        "toast-values-lost",
        "Parts of long texts are gone from the TOAST table; reading those rows fails.",
        "toast_corruption",
        make=_toast_lost,
        prepare=_documents,
        small_cache=True,
    ),
    _fault(
        "catalogue-row-lost",
        "A row of a system catalogue is gone, and with it what the server knew of a table.",
        "catalog_corruption",
        make=_catalogue_row_lost,
        prepare=_busy_table,
    ),
    Fault(
        id="collation-moved",
        area=Area.DATA,
        story="The system's library was upgraded and sorts by other rules than the indexes do.",
        causes=("collation_drift",),
        make=_collation_moved,
        needs=Needs(major_min=15, prepare=(_names,)),
    ),
)
