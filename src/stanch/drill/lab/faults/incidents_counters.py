"""Told incidents: numbers that ran out, of transactions, of multixacts, of keys."""

from __future__ import annotations

import random
from contextlib import suppress

import psycopg

from stanch.drill.lab.fault import Area, Fault, Needs, NotMade
from stanch.drill.lab.means.counters import PAGE_BYTES, SEGMENT_BYTES, advance_xids
from stanch.drill.lab.means.estate import Records, estate, everyday, records, says, unused
from stanch.drill.lab.rig import Rig

NOTE = "incidents-counters"
RARE_VACUUM = {"autovacuum_naptime": "2d"}
"""Stands for tables so large that a vacuum of them takes days: none of those here is ever done."""

XIDS_A_WRAP = 2**31 - 1
XIDS_LEFT = {13: 1_000_000}
XIDS_LEFT_SINCE_14 = 3_000_000
"""From there on the server gives out no more transaction ids."""

MEMBERS_A_PAGE = PAGE_BYTES // 20 * 4
"""Groups of four, each of four bytes with four of flags."""
MEMBERS_A_SEGMENT = MEMBERS_A_PAGE * (SEGMENT_BYTES // PAGE_BYTES)

INT4_MAX = 2**31 - 1


# --- transaction ids ----------------------------------------------------------------------------


def _nearly_wrapped(rig: Rig) -> None:
    made = records(rig, rows=rig.rng.randint(2_000, 9_000))
    rig.notes[NOTE] = made
    ((oldest,),) = rig.admin("SELECT min(datfrozenxid::text::bigint) FROM pg_database")
    left = XIDS_LEFT.get(rig.server.binaries.major, XIDS_LEFT_SINCE_14)
    advance_xids(rig.server, oldest + XIDS_A_WRAP - left - rig.rng.randint(9_000, 20_000))
    everyday(rig, made.usual)


def _writes_spike(rig: Rig) -> None:
    """As told in https://sentry-blog.sentry.dev/transaction-id-wraparound-in-postgres and in
    https://mailchimp.com/what-we-learned-from-the-recent-mandrill-outage/."""
    made: Records = rig.notes[NOTE]
    home = estate(rig)
    spike = rig.session("event-store", user=home.worker)
    each = made.add(rig.rng)
    spend = (
        f"DO $$ BEGIN FOR n IN 1..40000 LOOP BEGIN {each};"
        " EXCEPTION WHEN unique_violation THEN NULL; END; END LOOP; END $$"
    )
    with suppress(psycopg.errors.ProgramLimitExceeded):
        rig.run(spike, spend)
        raise NotMade("there are still transaction ids")
    says(rig, made.add, role=home.worker, application="event-store", sessions=2, pause_s=0.3)
    rig.logged("to avoid wraparound data loss")


# --- multixact members --------------------------------------------------------------------------


def _members_nearly_used_up(rig: Rig) -> None:
    """Ids are plenty; the room for those who share them is not."""
    made = records(rig, rows=rig.rng.randint(2_000, 9_000))
    rig.notes[NOTE] = made
    rig.sql(
        f"CREATE TABLE {made.name}_lines (parent_id bigint NOT NULL REFERENCES {made.name},"
        " amount bigint)"
    )
    # One multixact at least, so that there is an oldest one.
    _lines_at_once(rig, made, parents=2, sessions=2)
    server = rig.server
    server.stop()
    following = 2**32 - MEMBERS_A_SEGMENT - rig.rng.randint(2_000, 6_000)
    path = server.data_directory / f"pg_multixact/members/{following // MEMBERS_A_SEGMENT:04X}"
    # The server reads the page that it is to write to next.
    server.folder.write_owned(path, "\0" * SEGMENT_BYTES)
    program = server.binaries.program("pg_resetwal")
    server.folder.must_run([program, "-O", str(following), "-D", server.data_directory])
    server.start()
    everyday(rig, made.usual)


def _lines_at_once(rig: Rig, made: Records, *, parents: int, sessions: int) -> None:
    """Transactions that belong to the same parents, all of them open at the same time."""
    lines = f"INSERT INTO {made.name}_lines SELECT n, 1 FROM generate_series(1, {parents}) n"
    opened = [rig.session("backfill", user=estate(rig).worker) for _ in range(sessions)]
    for session in opened:
        rig.run(session, "BEGIN")
        rig.run(session, lines)
    for session in opened:
        rig.run(session, "COMMIT")
        session.close()


def _backfill(rig: Rig) -> None:
    """As told in https://metronome.com/blog/
    root-cause-analysis-postgresql-multixact-member-exhaustion-incidents-may-2025."""
    made: Records = rig.notes[NOTE]

    def refused() -> bool:
        try:
            _lines_at_once(rig, made, parents=100, sessions=rig.rng.randint(5, 8))
        except psycopg.Error as error:
            return "members" in str(error)
        return False

    rig.until(refused, seconds=90)
    hot = rig.rng.randint(1, 20)

    def line(rng: random.Random) -> str:
        # Both of them are one transaction, as they are sent at once.
        return (
            f"INSERT INTO {made.name}_lines VALUES ({hot}, {rng.randint(1, 90)});"
            f" SELECT pg_sleep({rng.uniform(0.05, 0.2):.2f})"
        )

    role = estate(rig).worker
    says(rig, line, role=role, application="backfill", sessions=rig.rng.randint(4, 8))


# --- integers of four bytes ---------------------------------------------------------------------


def _events_of_everything(rig: Rig) -> None:
    """Whatever happens on the site is also written to one table of events."""
    made = records(rig, rows=rig.rng.randint(2_000, 9_000))
    events = f"{estate(rig).schema}.{unused(rig, ('events', 'activities', 'audits', 'trackings'))}"
    rig.sql(f"CREATE SEQUENCE {events}_id_seq")
    rig.sql(
        f"CREATE TABLE {events} (id integer PRIMARY KEY DEFAULT nextval('{events}_id_seq'),"
        " kind text, subject_id bigint)"
    )
    rig.sql(
        f"CREATE FUNCTION {events}_of() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" INSERT INTO {events} (kind, subject_id) VALUES (TG_OP, NEW.id); RETURN NEW; END $$"
    )
    rig.sql(
        f"CREATE TRIGGER tracked AFTER INSERT OR UPDATE ON {made.name}"
        f" FOR EACH ROW EXECUTE FUNCTION {events}_of()"
    )
    left = rig.rng.randint(3_000, 9_000)
    rig.sql(f"SELECT setval('{events}_id_seq', {INT4_MAX - left})")
    old = "SELECT 'old', n FROM generate_series(1, 500) n"
    rig.sql(f"INSERT INTO {events} (kind, subject_id) {old}")
    rig.notes[NOTE] = (made, left)
    everyday(rig, made.usual)


def _no_more_events(rig: Rig) -> None:
    """As told in https://m.signalvnoise.com/
    update-on-basecamp-3-being-stuck-in-read-only-as-of-nov-8-922am-cst/."""
    made, left = rig.notes[NOTE]
    home = estate(rig)
    busy_hour = f"UPDATE {made.name} SET amount = amount + 1 WHERE id <= {made.rows // 4}"
    for _ in range(2 + 5 * left // made.rows):
        with suppress(psycopg.errors.NumericValueOutOfRange):
            rig.sql(busy_hour, user=home.worker, application_name="morning-digest")
    says(rig, made.change, role=home.web, application=home.program, sessions=2, pause_s=0.2)
    rig.logged("integer out of range")


def _narrow_reference(rig: Rig) -> None:
    """The key is wide, and what refers to it is not."""
    made = records(rig, rows=rig.rng.randint(2_000, 9_000))
    tokens = f"{estate(rig).schema}.{unused(rig, ('tokens', 'grants', 'sessions', 'deploy_keys'))}"
    rig.sql(
        f"CREATE TABLE {tokens} (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
        f" owner_id integer NOT NULL REFERENCES {made.name}, secret text)"
    )
    sequence = f"pg_get_serial_sequence('{made.name}', 'id')"
    rig.sql(f"SELECT setval({sequence}, {INT4_MAX - rig.rng.randint(1_500, 4_000)})")
    rig.notes[NOTE] = (made, tokens)
    everyday(rig, made.usual)
    says(
        rig,
        lambda rng: _with_token(made, tokens, rng),
        role=estate(rig).web,
        application="oauth",
        pause_s=rig.rng.uniform(0.1, 0.3),
    )


def _with_token(made: Records, tokens: str, rng: random.Random) -> str:
    """Somebody signs in: a row, and its token."""
    added = made.add(rng)
    return (
        f"WITH fresh AS ({added} RETURNING id)"
        f" INSERT INTO {tokens} (owner_id, secret) SELECT id, '{rng.random()}' FROM fresh"
    )


def _reference_outgrown(rig: Rig) -> None:
    """As told in https://bytesizeddesign.substack.com/p/when-a-foreign-key-crashed-heroku."""
    made, tokens = rig.notes[NOTE]
    home = estate(rig)
    rush = (
        f"INSERT INTO {made.name} (account_id, state, amount)"
        " SELECT 1, 'new', 1 FROM generate_series(1, 5000)"
    )
    rig.sql(rush, user=home.worker, application_name="signup-campaign")
    says(rig, lambda rng: _with_token(made, tokens, rng), role=home.web, application="oauth")
    rig.logged("integer out of range")


FAULTS = (
    Fault(
        id="no-more-transaction-ids",
        area=Area.LOCKS,
        story="After a spike of writes the server gives out no more transaction ids: vacuum had not"
        " frozen the old rows in time. Everything is read, nothing is written.",
        causes=("xid_wraparound",),
        make=_writes_spike,
        needs=Needs(conf=RARE_VACUUM, prepare=(_nearly_wrapped,)),
        shows_after_s=3.0,
        # Nothing can be made any more.
        answers=False,
    ),
    Fault(
        id="no-room-for-multixact-members",
        area=Area.LOCKS,
        story="A backfill locked the same parents from many transactions at once, until there was"
        " no room for members of multixacts; far fewer ids were used than allowed.",
        causes=("multixact_wraparound",),
        make=_backfill,
        needs=Needs(conf=RARE_VACUUM, prepare=(_members_nearly_used_up,)),
        shows_after_s=3.0,
        # No two transactions can lock the same row any more.
        answers=False,
    ),
    Fault(
        id="events-of-everything-are-full",
        area=Area.DATA,
        story="Whatever happens is also written to a table of events; its integer key went past two"
        " thousand million, and nothing can be changed anywhere.",
        causes=("int4_overflow",),
        make=_no_more_events,
        needs=Needs(prepare=(_events_of_everything,)),
        shows_after_s=3.0,
    ),
    Fault(
        id="reference-narrower-than-its-key",
        area=Area.DATA,
        story="A key of eight bytes went past what fits into four; the column that refers to it is"
        " an integer, and nobody can sign in any more.",
        causes=("int4_overflow",),
        make=_reference_outgrown,
        needs=Needs(prepare=(_narrow_reference,)),
        shows_after_s=3.0,
    ),
)
