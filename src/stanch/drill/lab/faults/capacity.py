"""How much the server has to do and what it has for it: load, neighbours, memory, ranges."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import psutil

from stanch.drill.lab.fault import Area, Fault, Needs
from stanch.drill.lab.means import words
from stanch.drill.lab.means.control_group import MemoryLimit, limit_running
from stanch.drill.lab.means.shop import Shop, make_shop, usual_work
from stanch.drill.lab.means.traffic import (
    STATEMENTS,
    Traffic,
    ask,
    begin,
    long_running,
    often_statements,
    repeat_program,
    start_program,
    unused_table,
)
from stanch.drill.lab.rig import Rig

LITTLE_SPACE: Any = {"root": True, "data_volume_mb": 500, "conf": STATEMENTS}
SLOW_S = 40.0
"""For some seconds of work."""
# --- load ---------------------------------------------------------------------------------------


def _prepare_usual(rig: Rig) -> None:
    made = make_shop(rig, indexed=("key",))
    span = rig.rng.randint(1000, 3000)
    rig.notes["load-spike"] = usual_work(rig, made, made.by_key(), made.by_id(), made.sums(span))


def _spike(rig: Rig) -> None:
    """The campaign begins: the same queries from many more sessions, beside the usual ones."""
    usual: Traffic = rig.notes["load-spike"][0]
    pace = (usual.per_second or 1) * rig.rng.randint(20, 40)
    begin(rig, replace(usual, sessions=rig.rng.randint(40, 70), per_second=pace))
    asked = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    before = rig.admin(asked)[0][0]

    def hundreds_came() -> bool:
        return rig.admin(asked)[0][0] > before + 500

    rig.until(hundreds_came, seconds=SLOW_S)


def _prepare_poolless(rig: Rig) -> None:
    made = make_shop(rig, rows=(20_000, 60_000), indexed=("key",))
    if rig.rng.random() < 0.5:
        rig.server.set_conf({"log_connections": True})
    usual = Traffic(
        application=made.application,
        scripts=(made.by_key(), made.by_id()),
        sessions=2,
        per_second=rig.rng.randint(8, 14),
        logs_in_each_time=True,
    )
    rig.notes["connection-churn"] = (usual, begin(rig, usual))


def _churn(rig: Rig) -> None:
    usual: Traffic
    usual, running = rig.notes["connection-churn"]
    running.stop()
    pace = (usual.per_second or 1) * rig.rng.randint(12, 20)
    begin(rig, replace(usual, sessions=rig.rng.randint(8, 20), per_second=pace))
    seen: set[int] = set()

    def many_came() -> bool:
        asked = "SELECT pid FROM pg_stat_activity WHERE application_name = %s"
        seen.update(pid for (pid,) in rig.admin(asked, (usual.application,)))
        return len(seen) >= 20

    rig.until(many_came)


# --- others on the machine ----------------------------------------------------------------------


def _prepare_neighbour(rig: Rig) -> None:
    made = make_shop(rig, rows=(100_000, 200_000), indexed=("key",))
    usual_work(rig, made, made.by_key(), made.sums(rig.rng.randint(1000, 3000)))


def _neighbour(rig: Rig) -> None:
    program = rig.rng.choice(
        (
            (sys.executable, "-c", "while True: pass"),
            ("sha256sum", "/dev/zero"),
            ("xz", "-9", "-c", "/dev/urandom"),
            ("gzip", "-9", "-c", "/dev/urandom"),
        )
    )
    # Two at most, however many processors there are; they end by themselves should nobody do it.
    for _ in range(2):
        burning = psutil.Process(start_program(rig, ["timeout", "300", *program]).pid)
        rig.until(lambda one=burning: _burnt_s(one) > 0.3)


def _burnt_s(parent: psutil.Process) -> float:
    times = [child.cpu_times() for child in parent.children()]
    return sum(one.user + one.system for one in times)


# --- maintenance at peak time -------------------------------------------------------------------

STRETCHED_SQL = """
CREATE FUNCTION stretched(word text) RETURNS text IMMUTABLE PARALLEL SAFE LANGUAGE plpgsql AS
$$ BEGIN FOR i IN 1..150 LOOP word := md5(word); END LOOP; RETURN word; END $$
"""


def _prepare_peak(rig: Rig) -> None:
    made = make_shop(rig, rows=(150_000, 250_000), indexed=("key",))
    archives = [make_shop(rig, rows=(200_000, 300_000), indexed=("key",)) for _ in range(2)]
    rig.notes["maintenance-at-peak"] = archives
    peak = Traffic(
        application=made.application,
        scripts=(made.by_key(), made.sums(rig.rng.randint(2000, 5000))),
        sessions=rig.rng.randint(6, 12),
        per_second=rig.rng.randint(120, 200),
    )
    begin(rig, peak)


def _maintain(rig: Rig) -> None:
    archives: list[Shop] = rig.notes["maintenance-at-peak"]
    make = rig.rng.choice((_dump, _base_backup, _vacuum_full, _reindex, _create_indexes))
    application = make(rig, [one.table for one in archives])
    rig.until(lambda: long_running(rig, application, 0))


def _dump(rig: Rig, archives: list[str]) -> str:
    """A dump for each table, side by side, so that it is over sooner."""
    program = rig.server.binaries.program("pg_dump")
    for table in archives:
        way = ["-Fc", "-Z", "9", "-f", "/dev/null", "-t", table]
        repeat_program(rig, [program, *way, "-d", rig.dsn])
    return "pg_dump"


def _base_backup(rig: Rig, _archives: list[str]) -> str:
    """Two tools were told to do it at the same hour."""
    program = rig.server.binaries.program("pg_basebackup")
    way = ["-D", "-", "-Ft", "-Z", "6", "-X", "none", "-c", "fast"]
    for _ in range(2):
        repeat_program(rig, [program, *way, "-d", rig.server.dsn()])
    return "pg_basebackup"


def _vacuum_full(rig: Rig, archives: list[str]) -> str:
    return _each(rig, [f"VACUUM (FULL, ANALYZE) {table}" for table in archives], "vacuumdb")


def _reindex(rig: Rig, archives: list[str]) -> str:
    return _each(rig, [f"REINDEX TABLE {table}" for table in archives], "reindexdb")


def _create_indexes(rig: Rig, archives: list[str]) -> str:
    """By an expression that takes its time, which stands for a table that is large."""
    rig.sql(STRETCHED_SQL)
    creating = [f"CREATE INDEX ON {table} (stretched(note))" for table in archives]
    return _each(rig, creating, words.migration(rig.rng))


def _each(rig: Rig, statements: list[str], application: str) -> str:
    for text in statements:
        rig.keep_asking(text, application=application)
    return application


# --- memory and temporary files -----------------------------------------------------------------


def _prepare_limited(rig: Rig) -> None:
    """The server lives under a memory limit, as in a container."""
    made = make_shop(rig, rows=(300_000, 450_000), indexed=("key",))
    limit = limit_running(rig, rig.rng.randint(280, 400))
    usual = f"SELECT id, state, amount FROM {made.table} WHERE {made.key} = (random() * 5000)::int"
    ask(rig, made.application, lambda session: rig.run(session, usual), sessions=4, pause_s=0.1)
    rig.notes["work-mem-too-high"] = (made, limit)


def _sort_in_memory(rig: Rig) -> None:
    limit: MemoryLimit
    made, limit = rig.notes["work-mem-too-high"]
    whose = rig.rng.choice(("ROLE app", "DATABASE app", "SYSTEM"))
    rig.admin(f"ALTER {whose} SET work_mem = '{rig.rng.choice((256, 512, 1024))}MB'")
    rig.admin("SELECT pg_reload_conf()")
    text = (
        "SELECT max(place) FROM (SELECT row_number() OVER (ORDER BY note, made_at, amount, state,"
        f" id) AS place FROM {made.table}) AS report"
    )
    application, at_once = words.job(rig.rng), rig.rng.random() < 0.5
    for _ in range(rig.rng.randint(8, 12)):
        ask(rig, application, lambda session: rig.run(session, text))
        if not at_once:
            # One more and one more, as the morning comes.
            rig.until(lambda: long_running(rig, application, 0))
        if limit.bytes("max_usage_in_bytes") > limit.bytes("limit_in_bytes") * 0.9:
            break
    rig.until(lambda: limit.bytes("max_usage_in_bytes") > limit.bytes("limit_in_bytes") * 0.85)


def _prepare_spilling(rig: Rig) -> None:
    made = make_shop(rig, rows=(200_000, 300_000), indexed=("key",))
    if rig.rng.random() < 0.5:
        rig.server.set_conf({"log_temp_files": "10MB"})
    usual_work(rig, made, made.by_key(), made.by_id())
    rig.notes["temp-file-spill"] = made


def _spill(rig: Rig) -> None:
    """Every row for every month: some gigabyte, with 4 MB of memory to sort it in."""
    made: Shop = rig.notes["temp-file-spill"]
    sessions = rig.rng.randint(1, 2)
    months = rig.rng.randint(30, 40) // sessions
    first = rig.rng.choice(("t.amount * month", "md5(t.note || month)"))
    text = (
        f"SELECT max(place) FROM (SELECT row_number() OVER (ORDER BY {first}, note, made_at, state,"
        f" id) AS place FROM {made.table} t, generate_series(1, {months}) month) AS report"
    )
    rig.keep_asking(text, application=words.job(rig.rng), sessions=sessions)
    rig.logged("No space left on device", seconds=2 * SLOW_S)


# --- ranges of numbers --------------------------------------------------------------------------

INT4_MAX = 2**31 - 1


def _numbered(rig: Rig, column: str, sequence: str) -> str:
    """A table that is inserted into, numbered by a sequence; the sequence's name."""
    table = unused_table(rig)
    rig.sql(f"CREATE SEQUENCE {table}_id_seq {sequence}")
    rig.sql(f"""
        CREATE TABLE {table} (
            id {column} PRIMARY KEY DEFAULT nextval('{table}_id_seq'), note text,
            made_at timestamptz NOT NULL DEFAULT now()
        )
    """)
    rig.sql(f"ALTER SEQUENCE {table}_id_seq OWNED BY {table}.id")
    rig.sql(f"INSERT INTO {table} (note) SELECT 'entry ' || n FROM generate_series(1, 5000) n")
    rig.sql(f"VACUUM (ANALYZE) {table}")
    text = f"INSERT INTO {table} (note) VALUES ('entry')"
    ask(
        rig,
        words.application(rig.rng),
        lambda session: rig.run(session, text),
        sessions=rig.rng.randint(2, 5),
        pause_s=rig.rng.uniform(0.05, 0.3),
    )
    return f"{table}_id_seq"


def _count_on(rig: Rig, sequence: str, number: int) -> None:
    """Years go by."""
    rig.sql("SELECT setval(%s, %s)", (sequence, number))


def _prepare_sequence(rig: Rig) -> None:
    # The column was made larger once, or never could hold more than some form has room for.
    limit = rig.rng.choice((INT4_MAX, 999_999, 9_999_999))
    how = "AS integer" if limit == INT4_MAX else f"MAXVALUE {limit}"
    rig.notes["sequence-exhausted"] = (_numbered(rig, "bigint", how), limit)


def _exhaust(rig: Rig) -> None:
    sequence, limit = rig.notes["sequence-exhausted"]
    _count_on(rig, sequence, limit - rig.rng.randint(1, 20))
    rig.logged("reached maximum value of sequence")


def _prepare_overflow(rig: Rig) -> None:
    rig.notes["int4-overflow"] = _numbered(rig, "integer", "")


def _overflow(rig: Rig) -> None:
    _count_on(rig, rig.notes["int4-overflow"], INT4_MAX - rig.rng.randint(1, 20))
    rig.logged("integer out of range")


def _prepare_near(rig: Rig) -> None:
    how = rig.rng.choice(("AS integer", ""))
    rig.notes["int4-nearly-full"] = sequence = _numbered(rig, "integer", how)
    rig.sql(f"GRANT SELECT ON SEQUENCE {sequence} TO stanch_watch")


def _near(rig: Rig) -> None:
    sequence: str = rig.notes["int4-nearly-full"]
    number = int(INT4_MAX * rig.rng.uniform(0.965, 0.975))
    _count_on(rig, sequence, number)
    rig.until(f"SELECT 1 FROM {sequence.removesuffix('_id_seq')} WHERE id > {number}")


FAULTS = (
    Fault(
        id="load-spike",
        area=Area.WORK,
        story="A campaign: the usual queries come thirty times as often, from many more sessions.",
        causes=("load_spike",),
        make=_spike,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_usual)),
        shows_after_s=5,
    ),
    Fault(
        id="connection-churn",
        area=Area.WORK,
        story="An application without a pool logs in for each request, and there are ten times as"
        " many requests as usual.",
        causes=("connection_storm",),
        make=_churn,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_poolless)),
        shows_after_s=5,
    ),
    Fault(
        id="noisy-neighbour",
        area=Area.WORK,
        story="Another program on the machine takes the processors.",
        causes=("noisy_neighbour",),
        make=_neighbour,
        needs=Needs(
            programs=("timeout", "sha256sum", "xz", "gzip"),
            conf=STATEMENTS,
            prepare=(often_statements, _prepare_neighbour),
        ),
        shows_after_s=5,
    ),
    Fault(
        id="maintenance-at-peak",
        area=Area.WORK,
        story="A dump, a base backup, or the rewriting of tables or indexes runs at peak time.",
        causes=("maintenance_overload",),
        make=_maintain,
        needs=Needs(conf=STATEMENTS, prepare=(often_statements, _prepare_peak)),
        shows_after_s=5,
    ),
    Fault(
        id="work-mem-too-high",
        area=Area.WORK,
        story="Somebody set work_mem high so that sorts stay in memory; many sort at once, and the"
        " memory of the container does not suffice.",
        causes=("work_mem_too_high",),
        or_else=("oom_killed",),  # While it crashes it tells nobody what it is set to.
        make=_sort_in_memory,
        needs=Needs(root=True, conf=STATEMENTS, prepare=(often_statements, _prepare_limited)),
        shows_after_s=3,
    ),
    Fault(
        id="temp-file-spill",
        area=Area.WORK,
        story="A report sorts far more than fits into work_mem; its files fill the disk.",
        causes=("temp_file_spill",),
        make=_spill,
        needs=Needs(**LITTLE_SPACE, prepare=(often_statements, _prepare_spilling)),
        shows_after_s=4,
    ),
    Fault(
        id="sequence-exhausted",
        area=Area.WORK,
        story="A sequence has given out its last number, and whoever inserts gets an error.",
        causes=("sequence_exhausted",),
        make=_exhaust,
        needs=Needs(prepare=(_prepare_sequence,)),
    ),
    Fault(
        id="int4-overflow",
        area=Area.WORK,
        story="The key is an integer of four bytes and its sequence has passed two thousand"
        " million: no insert fits any more.",
        causes=("int4_overflow",),
        make=_overflow,
        needs=Needs(prepare=(_prepare_overflow,)),
    ),
    Fault(
        id="int4-nearly-full",
        area=Area.WORK,
        story="A key of four bytes has used 97 per cent of its range; nothing fails yet.",
        causes=("int4_overflow",),
        make=_near,
        needs=Needs(prepare=(_prepare_near,)),
    ),
)
