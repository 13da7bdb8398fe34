"""The owner of the data directory, and the server's clock: what is a cause, and what comes near."""

from __future__ import annotations

from dataclasses import replace

import pytest

import cases_host as c
import evidences as w
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.rank import STANDS_FROM, diagnose
from stanch.model.diagnosis import Verdict
from stanch.model.ports.traces import StartFiles


def standing(evidence: Evidence) -> list[str]:
    return [f.id for f in diagnose(evidence).causes if f.probability >= STANDS_FROM]


def files(owner: int = 110, mode: int = 0o700, control: int | None = 110) -> StartFiles:
    return StartFiles(
        version="18", control_file=True, owner_uid=owner, mode=mode, control_owner_uid=control
    )


# --- the data directory -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (files(owner=0), "belongs to root"),
        (files(owner=0, control=0), "belongs to root"),
        (files(owner=1000), "and the control file in it to 110"),
        (files(mode=0o755), "has mode 0755"),
        (files(mode=0o770), "has mode 0770"),
        (files(mode=0o500), "cannot work in it"),
        (replace(files(owner=0), version="", closed=True), "belongs to root"),
    ],
)
def test_a_killed_server_that_may_not_open_its_folder_is_kept_down_by_that(
    found: StartFiles, said: str
) -> None:
    evidence = replace(w.KILLED, files=w.read(found))
    assert standing(evidence) == ["cannot_start"]
    first = diagnose(evidence).first
    assert first is not None
    assert said in first.summary
    assert first.fact("data_directory_uid") == found.owner_uid


def test_what_the_start_itself_says_is_told_before_what_is_seen() -> None:
    event = c.fatal("wrong_permissions", 'data directory "/srv/pg" has invalid permissions')
    evidence = replace(c.last_words(event), files=w.read(files(mode=0o755)))
    first = diagnose(evidence).first
    assert first is not None
    assert "has invalid permissions" in first.summary


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_a_killed_server_whose_folder_is_its_own_was_killed(mode: int) -> None:
    assert standing(replace(w.KILLED, files=w.read(files(mode=mode)))) == ["killed"]


def test_a_folder_that_was_opened_to_all_hurts_no_server_that_runs() -> None:
    assert diagnose(w.healthy(files=w.read(files(mode=0o777)))).verdict is Verdict.HEALTHY


def test_another_reason_that_the_start_names_is_told_all_the_same() -> None:
    evidence = replace(c.CASES["bad_configuration"], files=w.read(files()))
    assert standing(evidence) == ["bad_configuration"]


EMPTIED = replace(files(), version="", control_file=False, control_owner_uid=None)


@pytest.mark.parametrize("down", [w.KILLED, w.STOPPED, w.STALE, w.down(log=w.log(w.SEGV))])
def test_a_server_that_went_down_over_an_emptied_folder_is_told_from_the_folder(
    down: Evidence,
) -> None:
    first = diagnose(replace(down, files=w.read(EMPTIED))).first
    assert first is not None
    assert first.id == "data_files_removed"
    assert "start_server" in first.forbids
    assert "PG_VERSION and global/pg_control are not there" in first.summary


def test_an_emptied_folder_is_told_while_the_server_still_answers_who_has_its_files_open() -> None:
    first = diagnose(w.healthy(files=w.read(EMPTIED))).first
    assert first is not None
    assert first.id == "data_files_removed"
    assert any("processes that still live" in never for never in first.never)


@pytest.mark.parametrize(
    "found",
    [
        files(),
        replace(files(), version="", closed=True),
        replace(files(), control_file=False),
        replace(files(), control_file=False, control_set_aside=True),
    ],
    ids=["all there", "not looked into", "the control file alone", "set aside by pg_upgrade"],
)
def test_files_of_which_none_is_known_to_be_deleted_are_no_such_cause(found: StartFiles) -> None:
    assert "data_files_removed" not in standing(replace(w.KILLED, files=w.read(found)))


# --- the clock ----------------------------------------------------------------------------------


def clock(ahead_s: float) -> Evidence:
    told = w.figure("server_clock_s", w.AT.timestamp() + ahead_s)
    return w.healthy(figures=w.figures(*w.HEALTHY_FIGURES, told, **w.SETTINGS))


@pytest.mark.parametrize(("ahead_s", "way"), [(5400.0, "ahead of"), (-86_400.0, "behind")])
def test_a_server_whose_clock_says_another_time_than_ours_is_told_by_it(
    ahead_s: float, way: str
) -> None:
    evidence = clock(ahead_s)
    assert standing(evidence) == ["clock_wrong"]
    first = diagnose(evidence).first
    assert first is not None
    assert f"{way} the one here" in first.summary
    assert first.fact("clock_offset_s") == ahead_s


@pytest.mark.parametrize("ahead_s", [-2.5, 0.0, 0.4])
def test_the_moment_that_an_answer_takes_is_no_wrong_clock(ahead_s: float) -> None:
    assert diagnose(clock(ahead_s)).verdict is Verdict.HEALTHY


def test_our_own_clock_being_right_says_nothing_of_the_servers() -> None:
    history = w.history(*w.HEALTHY_COURSES, w.course("clock_offset_s", 0.01, 0.01))
    assert standing(replace(clock(7200.0), history=history)) == ["clock_wrong"]


# --- somebody else answers ----------------------------------------------------------------------


def answering(identifier: str) -> Evidence:
    """As somebody sees it who named a data directory, and has never seen the server before."""
    told = w.figure("system_identifier", None, detail=identifier)
    return w.healthy(figures=w.figures(*w.HEALTHY_FIGURES, told, **w.SETTINGS))


def test_a_server_of_other_data_than_the_directory_that_was_named_is_told() -> None:
    evidence = answering("7391822455667788990")
    assert standing(evidence) == ["other_cluster"]
    first = diagnose(evidence).first
    assert first is not None
    assert first.fact("cluster_answering") == "7391822455667788990"
    assert first.fact("cluster_expected") == "7"


def test_the_server_of_the_directory_that_was_named_is_no_other() -> None:
    assert diagnose(answering("7")).verdict is Verdict.HEALTHY


# --- pg_hba.conf beside the settings ------------------------------------------------------------

HBA_WRONG = w.line(
    "config_error", 20, 'invalid authentication method "scram-sha256"', severity="LOG"
)
HBA_KEPT = w.line("config_error", 20, "/srv/pg/pg_hba.conf was not reloaded", severity="LOG")


def test_what_is_wrong_in_pg_hba_conf_is_no_setting_that_was_refused() -> None:
    evidence = w.healthy(log=w.log(c.RELOADED, HBA_WRONG, HBA_KEPT))
    assert standing(evidence) == ["hba_invalid"]


def test_a_setting_that_was_refused_beside_it_is_told_as_well() -> None:
    lines = (c.RELOADED, c.REFUSED_VALUE, c.UNAFFECTED, HBA_WRONG, HBA_KEPT)
    evidence = w.healthy(log=w.log(*lines))
    assert sorted(standing(evidence)) == ["hba_invalid", "reload_refused"]
