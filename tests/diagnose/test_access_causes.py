"""Near misses of logins, pools, certificates and rights: what looks alike and is another cause."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cases_access as c
import evidences as w
from stanch.diagnose.clues.refusals import lines_lately
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.figures import Figures
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.changes import NotedChange
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.model.ids import TargetName
from stanch.model.symptoms import Symptom, SymptomKind


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def first(evidence: Evidence) -> CauseFinding:
    found = diagnose(evidence).first
    assert found is not None
    return found


QUIET: dict[str, Evidence] = {
    "a person mistypes a password three times": w.healthy(
        log=w.log(*c.lines("auth_failed", c.PASSWORD, 3))
    ),
    "somebody tries an account that has expired": w.healthy(
        log=w.log(*c.lines("password_expired", c.PASSWORD, 1))
    ),
    "an account that expired long ago and nobody uses": w.healthy(
        figures=w.figures(*w.HEALTHY_FIGURES, w.figure("role_expired", 9e6, "old"), **w.SETTINGS)
    ),
    "a role that is gone is tried once": w.healthy(
        log=w.log(*c.lines("role_unknown", c.NO_LOGIN, 1))
    ),
    "refused logins of an hour ago": w.healthy(
        log=w.log(*(w.line("hba_rejected", 3600 + n, c.HBA) for n in range(20)))
    ),
    "doors that the Internet tries every day": w.healthy(
        log=w.log(*c.lines("hba_rejected", c.HBA, 2)),
        history=w.history(w.course("auth_failures_total", 0.2, 0.2, "database")),
    ),
    "a certificate that has expired and nobody checks": w.healthy(reach=c.certificate(86_400)),
    "a certificate that never verified": w.healthy(
        history=w.history(w.course("tls_chain_ok", 0, 0), w.course("tls_name_ok", 0, 0))
    ),
    "a pg_hba.conf that was mended": w.healthy(
        log=w.log(
            w.line("config_error", 60, "pg_hba.conf was not reloaded"), w.line("reloaded", 30)
        )
    ),
    "another settings file that was refused": w.healthy(
        log=w.log(w.line("config_error", 60, 'configuration file "x" contains errors'))
    ),
    "a role whose pool is as large as its limit": w.healthy(
        sessions=w.sessions(w.group("idle", 16), w.group("active", 4), limits_hit=())
    ),
    "a role that was at its limit a while ago": w.healthy(
        log=w.log(w.line("too_many_for_role", 600, c.LIMIT))
    ),
    "an application that connects anew for every request": w.healthy(
        sessions=w.sessions(w.group("active", 30), w.group("idle", 6)),
        figures=w.figures(w.figure("sessions_begun_10s", 34), **w.SETTINGS),
        history=w.history(
            w.course("client_backends", 34, 36),
            w.course("log_class_total", 60, 62, "connection_received"),
        ),
    ),
    "a busy pool whose clients wait for a moment": w.healthy(
        history=w.history(*c.pooled(100, 3, 0.2))
    ),
    "a pool in full use for which nobody waits": w.healthy(history=w.history(*c.pooled(100, 0, 0))),
    "a pooler with many clients": w.healthy(
        history=w.history(w.course("pool_usage_pct", 50, 90, "bouncer/clients"))
    ),
    "superusers who were there before": w.healthy(
        history=w.history(w.course("dangerous_roles", 3, 3))
    ),
    "a superuser who is none any more": w.healthy(
        changes=w.changes(w.change(60, "role", "x", "was: superuser login; is: login"))
    ),
    "a role that may not be superuser": w.healthy(
        changes=w.changes(w.change(60, "role", "x", "ran ALTER ROLE x NOSUPERUSER"))
    ),
    "a superuser whose connection limit was changed": w.healthy(
        changes=w.changes(
            w.change(60, "role", "x", "was: superuser login; is: superuser login limit 5")
        )
    ),
    "the nightly dump": w.healthy(
        figures=w.figures(
            w.figure("copying_out", 9e9, "backup", "pg_dump, from 10.0.0.4, pid 7"), **w.SETTINGS
        )
    ),
    "somebody who copies a table out by hand": w.healthy(
        figures=w.figures(
            w.figure("copying_out", 9e9, "analyst", "psql, from 10.0.0.4, pid 7"), **w.SETTINGS
        )
    ),
    "an application that has always been refused a table": w.healthy(
        log=w.log(*c.lines("permission_denied", c.DENIED, 40)),
        history=w.history(w.course("log_class_total", 0.1, 0.1, "permission_denied")),
    ),
    "a few refused statements after a migration": w.healthy(
        log=w.log(*c.lines("permission_denied", c.DENIED, 4)), changes=w.changes(c.REVOKED)
    ),
    "a standby that is read from": w.healthy(
        reach=w.reach("read_only", c.STANDBY),
        sessions=w.sessions(w.group("active", 6), in_recovery=True),
        figures=w.figures(w.figure("in_recovery", 1), **w.SETTINGS),
    ),
    "a standby on which somebody tries to write once": w.healthy(
        reach=w.reach("read_only", c.STANDBY),
        log=w.log(*c.lines("read_only", c.READ_ONLY, 2)),
        figures=w.figures(w.figure("in_recovery", 1), **w.SETTINGS),
    ),
    "a watch whose own role is read-only": w.healthy(
        reach=w.reach("read_only", c.SWITCHED),
        figures=w.figures(
            *w.HEALTHY_FIGURES,
            w.figure("role_settings", None, "stanch_watch@", "default_transaction_read_only=on"),
            **w.SETTINGS,
        ),
    ),
}


@pytest.mark.parametrize("what", sorted(QUIET))
def test_what_healthy_servers_show_as_well_names_no_cause(what: str) -> None:
    assert standing(QUIET[what]) == []
    assert diagnose(QUIET[what]).verdict is Verdict.HEALTHY


def test_a_limit_that_is_reached_and_turns_nobody_away_is_told_and_not_named() -> None:
    evidence = w.healthy(sessions=w.sessions(w.group("idle", 20), limits_hit=c.HIT))
    assert diagnose(evidence).verdict is Verdict.UNKNOWN
    assert standing(evidence) == []


# --- logins -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("detail", "cause_id"),
    [
        (f"FATAL 28000: {c.HBA}", "hba_refused"),
        ('FATAL 28000: Kein pg_hba.conf-Eintrag für Host "10.0.0.7"', "hba_refused"),
        (f"FATAL 28000: {c.NO_LOGIN}", "login_not_permitted"),
        ('FATAL 28000: role "app" does not exist', "login_not_permitted"),
        (f"FATAL 28P01: {c.PASSWORD}", "credentials_refused"),
        ("these credentials were refused less than a minute ago", "credentials_refused"),
        ('FATAL 42501: permission denied for database "app" (User does not …)', "rights_revoked"),
    ],
)
def test_the_servers_words_alone_tell_what_they_can(detail: str, cause_id: str) -> None:
    evidence = replace(c.refused(detail), log=Missing(what="log", reason="on another machine"))
    assert standing(evidence) == [cause_id]


def test_lines_about_another_role_do_not_explain_why_the_watch_is_turned_away() -> None:
    other = 'password authentication failed for user "report"'
    evidence = c.refused(f"FATAL 28P01: {c.PASSWORD}", *c.lines("password_expired", other, 2))
    assert standing(evidence) == ["credentials_refused"]


def test_an_application_that_is_turned_away_is_named_although_the_watch_gets_in() -> None:
    log = w.log(*c.lines("password_expired", c.PASSWORD, 5))
    expired = w.figure("role_expired", 120.0, "app")
    evidence = w.healthy(log=log, figures=w.figures(expired, **w.SETTINGS))
    found = first(evidence)
    assert (found.id, found.subject) == ("password_expired", "role app")
    assert found.since == w.ago(22)
    assert "expired 2 min ago" in found.summary
    # A role whose end is in the future again was mended meanwhile.
    assert standing(replace(evidence, figures=w.figures(**w.SETTINGS))) == []


def test_a_retry_loop_with_a_wrong_password_names_the_application_and_no_attack() -> None:
    evidence = w.healthy(log=w.log(*c.lines("auth_failed", c.PASSWORD, 60, every_s=2)))
    assert standing(evidence) == ["password_wrong"]


def test_the_change_of_a_role_right_before_its_logins_fail_is_told_with_them() -> None:
    changed = w.change(60, "role", "app", "ran ALTER ROLE app PASSWORD …; by admin@app (psql)")
    found = first(replace(c.CASES["password_wrong"], changes=w.changes(changed)))
    said = {f.evidence: f.text for f in found.evidence_for}
    assert "by admin@app (psql)" in said["change"]
    assert 'role "app" was changed' in said["role_changed"]


def test_refusals_by_pg_hba_without_a_reload_before_are_a_candidate_only() -> None:
    evidence = w.healthy(log=w.log(*c.lines("hba_rejected", c.HBA, 30)))
    assert standing(evidence) == []
    after_reload = w.log(w.line("reloaded", 200), *c.lines("hba_rejected", c.HBA, 30))
    assert standing(replace(evidence, log=after_reload)) == ["hba_refused"]


def test_many_roles_that_do_not_exist_are_an_attack_and_no_lost_role() -> None:
    assert standing(c.CASES["login_attack"]) == ["login_attack"]
    one = w.healthy(log=w.log(*c.lines("role_unknown", c.PASSWORD, 60, every_s=2)))
    assert standing(one) == ["login_not_permitted"]


def test_what_is_tried_every_day_alike_is_no_attack_of_now() -> None:
    usual = w.history(w.course("auth_failures_total", 0.4, 0.4, "database"))
    assert "login_attack" not in standing(
        replace(c.CASES["login_attack"], log=w.log(*c.tried(60, 12, "auth_failed")), history=usual)
    )


# --- certificates, pg_hba.conf ------------------------------------------------------------------


def test_a_certificate_that_has_expired_is_not_told_as_one_that_is_not_trusted() -> None:
    assert standing(c.CASES["certificate_expired"]) == ["certificate_expired"]


def test_clients_that_give_up_an_old_certificate_are_enough_to_name_it() -> None:
    gave_up = "could not accept SSL connection: sslv3 alert certificate expired"
    evidence = w.healthy(
        reach=c.certificate(86_400), log=w.log(*c.lines("tls_refused", gave_up, 5))
    )
    assert standing(evidence) == ["certificate_expired"]


def test_a_certificate_from_another_issuer_than_before_is_named_when_clients_give_up() -> None:
    gave_up = "could not accept SSL connection: tlsv1 alert unknown ca"
    log = w.log(*c.lines("tls_refused", gave_up, 5))
    changed = w.history(w.course("tls_chain_ok", 1, 0))
    assert standing(w.healthy(log=log, history=changed)) == ["certificate_untrusted"]


def test_a_server_that_offers_no_encryption_has_no_bad_certificate() -> None:
    evidence = c.refused(
        "the server offers no TLS, and sslmode=require demands it", state="tls_failure"
    )
    assert standing(evidence) == []
    assert diagnose(evidence).verdict is Verdict.UNKNOWN


def test_errors_in_pg_hba_that_the_watch_reads_are_named_without_any_log() -> None:
    evidence = w.healthy(
        log=Missing(what="log", reason="on another machine"),
        history=w.history(w.course("hba_errors", 0, 2)),
    )
    assert first(evidence).id == "hba_invalid"


# --- limits and pools ---------------------------------------------------------------------------


def test_a_login_turned_away_for_its_own_limit_is_enough_where_nothing_else_is_seen() -> None:
    evidence = c.refused(f"FATAL 53300: {c.LIMIT}", state="connection_limit")
    blind = replace(evidence, log=Missing(what="log", reason="on another machine"))
    assert standing(blind) == ["connection_limit_reached"]


def test_a_server_that_is_full_is_not_at_a_roles_own_limit() -> None:
    full = w.healthy(
        reach=w.reach("too_many_clients", "FATAL 53300: sorry, too many clients already"),
        sessions=w.sessions(w.group("idle", 90, age_s=900.0), w.group("active", 7)),
    )
    assert standing(full) == ["connections_leaked"]


def test_a_pool_behind_an_idle_transaction_is_one_story_from_its_root() -> None:
    evidence = w.healthy(
        history=w.history(*c.pooled(100, 30, 12)),
        chains=w.chains(w.chain(19, 12.0, "idle in transaction")),
    )
    found = {f.id: f.follows for f in diagnose(evidence).causes if f.probability >= STANDS_FROM}
    assert found == {
        "idle_in_transaction": None,
        "blocking_chain": "idle_in_transaction",
        "pool_exhausted": "blocking_chain",
    }


def test_clients_that_the_watch_sees_waiting_for_long_count_like_a_long_wait() -> None:
    symptom = Symptom(
        kind=SymptomKind.POOL_WAITING,
        target=TargetName("orders"),
        since=w.ago(60),
        subject="bouncer/app/app",
    )
    evidence = w.healthy(history=w.history(*c.pooled(100, 9, 0)), symptoms=(symptom,))
    assert first(evidence).id == "pool_exhausted"


@pytest.mark.parametrize(
    ("words", "cause_id"),
    [
        ("FATAL 08P01: query_wait_timeout", "pool_exhausted"),
        (
            "FATAL 08P01: no more connections allowed (max_client_conn)",
            "pool_clients_exhausted",
        ),
    ],
)
def test_a_pooler_that_turns_the_watch_away_says_which_of_its_limits_it_is(
    words: str, cause_id: str
) -> None:
    assert standing(c.refused(words, state="too_many_clients")) == [cause_id]


def test_a_pool_that_is_full_and_not_paused_is_exhausted_with_what_it_may_grow_to() -> None:
    found = first(w.healthy(beside=c.told(100, 30, 12, paused=False)))
    assert found.id == "pool_exhausted"
    facts = dict(found.facts)
    assert (facts["pooler"], facts["database"]) == ("bouncer", "app")
    assert (facts["pool_size"], facts["pool_size_larger"]) == (20, 30)


def test_a_pool_that_was_paused_while_it_was_full_is_told_as_paused() -> None:
    found = first(w.healthy(beside=c.told(100, 30, 12, paused=True)))
    assert found.id == "pool_paused"
    assert found.summary.startswith("Pool bouncer/app/app is paused: 30 clients wait")


def test_a_paused_pool_that_nobody_waits_for_is_no_cause() -> None:
    assert standing(w.healthy(beside=c.told(0, 0, 0, paused=True))) == []


def test_where_no_console_told_of_it_there_is_no_pooler_to_change() -> None:
    facts = dict(first(c.CASES["pool_exhausted"]).facts)
    assert (facts["pooler"], facts["database"], facts["pool_size"]) == (None, None, None)


SURGED = w.course("sessions_total", 0.4, 35)


def test_sessions_that_begin_and_leave_at_once_are_a_storm_and_those_that_stay_are_none() -> None:
    leaving = w.healthy(
        sessions=w.sessions(w.group("active", 6), w.group("idle", 10)),
        figures=w.figures(w.figure("sessions_begun_10s", 12.0), **w.SETTINGS),
        history=w.history(w.course("client_backends", 12, 16), SURGED),
    )
    assert standing(leaving) == ["connection_storm"]
    staying = w.healthy(
        sessions=w.sessions(w.group("active", 6), w.group("idle", 300)),
        figures=w.figures(w.figure("sessions_begun_10s", 290.0), **w.SETTINGS),
        history=w.history(w.course("client_backends", 12, 306), SURGED),
    )
    assert "connection_storm" not in standing(staying)
    as_usual = w.healthy(history=w.history(w.course("sessions_total", 35, 36)))
    assert standing(as_usual) == []


CROWDED = w.sessions(*(w.group("idle", 17, application=f"app{n}") for n in range(5)))


@pytest.mark.parametrize(("limit", "verdict"), [(80.0, Verdict.UNKNOWN), (95.0, Verdict.HEALTHY)])
def test_a_server_whose_connections_run_short_is_not_called_healthy(
    limit: float, verdict: Verdict
) -> None:
    high = Symptom(
        kind=SymptomKind.CONNECTIONS_HIGH,
        target=TargetName("orders"),
        since=w.ago(60),
        measured=87.6,
        limit=limit,
    )
    found = diagnose(replace(w.healthy(sessions=CROWDED), symptoms=(high,)))
    assert found.verdict is verdict
    assert ("85 of 97 usable connections are taken" in found.summary) is (limit < 90)


def test_a_crowd_that_comes_for_work_and_stays_is_load_and_no_storm() -> None:
    evidence = w.healthy(
        sessions=w.sessions(w.group("active", 95), w.group("idle", 2)),
        figures=w.figures(w.figure("sessions_begun_10s", 90.0), **w.SETTINGS),
        history=w.history(w.course("client_backends", 7, 97), w.course("sessions_total", 0.2, 9.0)),
    )
    assert standing(evidence) == ["connections_load"]


def test_a_storm_of_logins_that_a_full_and_busy_server_refuses_is_one() -> None:
    evidence = w.healthy(
        sessions=w.sessions(w.group("active", 95), w.group("idle", 2)),
        figures=w.figures(w.figure("sessions_begun_10s", 60.0), **w.SETTINGS),
        history=w.history(
            w.course("client_backends", 7, 97),
            w.course("sessions_total", 0.2, 0.3),
            w.course("log_class_total", 1, 300, "connection_received"),
        ),
    )
    assert "connection_storm" in standing(evidence)


def test_sessions_that_pile_up_behind_a_lock_are_no_storm() -> None:
    evidence = w.healthy(
        sessions=w.sessions(w.group("active", 80), waiting=70, oldest_wait_s=9.0),
        chains=w.chains(w.chain(70, 9.0)),
        figures=w.figures(c.YOUNG, **w.SETTINGS),
        history=w.history(w.course("client_backends", 12, 80)),
    )
    assert "connection_storm" not in standing(evidence)
    assert first(evidence).id == "blocking_chain"


# --- rights, writes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        "is new: superuser login",
        "was: login; is: login member of pg_execute_server_program",
        "ran ALTER ROLE temp_admin SUPERUSER; by admin@app (psql)",
        "ran GRANT pg_write_server_files TO temp_admin",
    ],
)
def test_rights_over_everything_are_known_in_whatever_words_they_came(told: str) -> None:
    evidence = w.healthy(changes=w.changes(w.change(60, "role", "temp_admin", told)))
    assert standing(evidence) == ["dangerous_rights_gained"]
    assert first(evidence).subject == "role temp_admin"


@pytest.mark.parametrize(
    "change",
    [
        w.change(60, "role", "app", "was: login member of reports; is: login"),
        w.change(60, "relation", "app.public.orders", "was: table of app, columns 1; is: table of "
                 "admin, columns 1"),
        w.change(60, "object", "public", "ran DROP OWNED BY app"),
    ],
)  # fmt: skip
def test_whatever_takes_rights_away_is_named_with_the_refusals(change: NotedChange) -> None:
    evidence = replace(c.CASES["rights_revoked"], changes=w.changes(change))
    assert standing(evidence) == ["rights_revoked"]
    assert first(evidence).fact("changed") == change.what


def test_a_primary_that_became_a_standby_says_so() -> None:
    evidence = replace(
        c.CASES["standby_written_to"], history=w.history(w.course("in_recovery", 0, 1))
    )
    assert first(evidence).summary.endswith("It was a primary before.")


def test_a_setting_of_one_role_is_named_when_its_writes_are_refused() -> None:
    evidence = w.healthy(
        figures=w.figures(
            *w.HEALTHY_FIGURES,
            w.figure("role_settings", None, "app@", "default_transaction_read_only=on"),
            **w.SETTINGS,
        ),
        log=w.log(*c.lines("read_only", c.READ_ONLY, 20)),
        changes=w.changes(w.change(90, "role", "app", "ran SET default_transaction_read_only")),
    )
    assert first(evidence).id == "read_only_setting"
    assert first(evidence).fact("set_for") == "app@"


# --- hostile content ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["\x1b[2J<script>", '"; DROP TABLE x; --', "a" * 5000, ""])
def test_hostile_names_neither_harm_nor_lengthen_what_is_told(name: str) -> None:
    said = f'password authentication failed for user "{name}"'
    evidence = w.healthy(
        log=w.log(
            *c.lines("auth_failed", said, 20, who=f"{name}@{name}"),
            *c.lines("permission_denied", name, 20, who=f"{name}@{name}"),
        ),
        figures=w.figures(w.figure("copying_out", 1, name, name), **w.SETTINGS),
        changes=w.changes(w.change(60, "role", name, f"is new: superuser {name}")),
    )
    assert all(len(f.summary) < 300 for f in diagnose(evidence).causes)


def test_a_leak_that_has_just_begun_is_no_storm_of_connections() -> None:
    young = w.figure("sessions_begun_10s", 90.0, "", '88 of application "shop"')
    evidence = w.healthy(
        sessions=w.sessions(w.group("idle", 88, age_s=2.0), w.group("active", 8)),
        figures=w.figures(*w.HEALTHY_FIGURES, young),
        history=w.history(w.course("client_backends", 12, 96)),
        log=w.log(w.line("too_many_clients", 2)),
    )
    assert standing(evidence) == ["connections_leaked"]


def test_poolers_that_are_asked_now_count_before_what_was_recorded() -> None:
    now = w.read(
        Figures(
            items=(
                w.figure("pool_usage_pct", 100.0, "bouncer/app/app"),
                w.figure("pool_waiting", 12.0, "bouncer/app/app"),
                w.figure("pool_max_wait_s", 9.0, "bouncer/app/app"),
            )
        )
    )
    full = w.reach("too_many_clients")
    unread = Missing(what="history", reason="not read: no slot")
    assert "pool_exhausted" in standing(w.healthy(beside=now, history=unread, reach=full))
    calm = w.read(Figures(items=(w.figure("pool_waiting", 0.0, "bouncer/app/app"),)))
    before = w.history(*c.pooled(100, 30, 12))
    assert "pool_exhausted" not in standing(w.healthy(beside=calm, history=before))


@pytest.mark.parametrize(("lookback_s", "lines"), [(900.0, 0), (3600.0, 9)])
def test_what_is_looked_back_over_is_for_the_asking(lookback_s: float, lines: int) -> None:
    said = 'password authentication failed for user "app"'
    old = [w.line("auth_failed", 1800 + n, said) for n in range(9)]
    evidence = replace(w.healthy(log=w.log(*reversed(old))), lookback_s=lookback_s)
    assert lines_lately(evidence, "auth_failed") == lines
