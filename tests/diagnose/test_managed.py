"""A server that a provider keeps: what is not there by nature, and moves that can be made there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import evidences as w
from stanch.cli.diagnosis_text import as_json_value, text_lines
from stanch.diagnose.catalogue import CAUSES
from stanch.diagnose.cause import Cause
from stanch.diagnose.evidence import Evidence
from stanch.diagnose.managed import (
    ANY_PROVIDER,
    OF_THE_MACHINE,
    PROVIDERS,
    provider_of,
    provider_of_name,
    without_machine,
)
from stanch.diagnose.managed_moves import MOVES, NEEDS_MACHINE, for_provider, question_for
from stanch.diagnose.rank import diagnose
from stanch.model.diagnosis import CauseFinding, Missing, Verdict
from stanch.service.watched.diagnosing import managed_by

RDS = PROVIDERS["rds"]


def elsewhere(**differs: Any) -> Evidence:
    """Reached over SQL alone."""
    return without_machine(w.far(**differs))


def owned_by(role: str) -> Any:
    return w.figures(*w.HEALTHY_FIGURES, w.figure("cluster_owner", None, detail=role), **w.SETTINGS)


@pytest.mark.parametrize(
    ("name", "provider"),
    [
        ("orders.c9abc.eu-central-1.rds.amazonaws.com", "rds"),
        ("orders.cluster-c9abc.eu-west-1.RDS.amazonaws.com.", "rds"),
        ("orders.c9abc.rds.cn-north-1.amazonaws.com.cn", "rds"),
        ("rds.cn-north-1.amazonaws.com.cn", ""),
        ("orders.postgres.database.azure.com", "azure"),
        ("a1.b2.eu-west1.sql.goog", "cloudsql"),
        ("pg-1-shop.aivencloud.com", "aiven"),
        ("db-1-do-user-1-0.b.db.ondigitalocean.com", "digitalocean"),
        ("ep-cool-1.eu-central-1.aws.neon.tech", "neon"),
        ("db.abcdef.supabase.co", "supabase"),
        # Near misses: somebody's own machine, or a name that only looks like one.
        ("ec2-1-2-3-4.eu-central-1.compute.amazonaws.com", ""),
        ("rds.amazonaws.com", ""),
        ("orders.rds.amazonaws.com.example.com", ""),
        ("orders-rds.amazonaws.com", ""),
        ("notneon.tech", ""),
        ("neon.tech.example.com", ""),
        ("db.ondigitalocean.example.com", ""),
        ("orders.vm.azure.com", ""),
        ("db1.example.com", ""),
        ("10.0.0.5", ""),
        ("/var/run/postgresql", ""),
        ("", ""),
    ],
)
def test_a_provider_is_known_by_the_domain_of_its_servers(name: str, provider: str) -> None:
    assert provider_of_name(name) == provider


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("rdsadmin", "Amazon RDS or Aurora"),
        ("cloudsqladmin", "Google Cloud SQL"),
        ("alloydbadmin", "Google AlloyDB"),
        ("azuresu", "Azure Database for PostgreSQL"),
        ("cloud_admin", "Neon"),
        ("postgres", None),
        ("rds_superuser", None),
        ("cloudsqlsuperuser", None),
        ("", None),
    ],
)
def test_a_provider_is_known_by_the_role_that_owns_the_cluster(role: str, name: str | None) -> None:
    """A dump brings `rds_superuser` along; the owner of the cluster it never does."""
    provider = provider_of(w.far(figures=owned_by(role)))
    assert (provider.name if provider else None) == name


def test_a_machine_that_was_read_is_no_providers_whatever_the_server_is_called() -> None:
    assert provider_of(w.healthy(managed="rds", figures=owned_by("rdsadmin"))) is None


def test_what_the_server_says_of_itself_beats_a_word_without_a_name() -> None:
    provider = provider_of(w.far(managed=ANY_PROVIDER, figures=owned_by("rdsadmin")))
    assert provider is RDS


def test_what_is_absent_by_nature_is_named_with_where_it_is_told_and_not_called_unread() -> None:
    found = diagnose(elsewhere(managed="rds"))
    assert [f.evidence for f in found.by_nature] == ["server log", "machine", "control file"]
    told = " ".join(f.text for f in found.by_nature)
    for place in ("CloudWatch", "aws rds describe-events", "download-db-log-file-portion"):
        assert place in told
    assert not {f.evidence for f in found.absent} & set(OF_THE_MACHINE)
    shown = "\n".join(text_lines(found, colour=False))
    assert "Not there by nature:" in shown
    assert as_json_value(found)["by_nature"][0]["evidence"] == "server log"


def test_of_a_server_that_was_only_not_looked_at_the_machine_is_missed() -> None:
    found = diagnose(elsewhere())
    assert found.by_nature == ()
    assert "log" in {f.evidence for f in found.absent}


def test_a_log_that_somebody_fetched_is_read_and_not_called_absent() -> None:
    found = diagnose(elsewhere(managed="rds", log=w.log()))
    assert "server log" not in [f.evidence for f in found.by_nature]


def test_a_gap_that_is_none_of_nature_is_still_told() -> None:
    gone = Missing(what="history", reason="nobody watches this server")
    found = diagnose(elsewhere(managed="rds", history=gone))
    absent = {f.evidence for f in found.absent}
    assert "history" in absent
    assert not absent & set(OF_THE_MACHINE)


def test_a_service_that_refuses_is_looked_at_where_its_provider_shows_it() -> None:
    found = diagnose(elsewhere(**_refused(), managed="azure"))
    assert found.verdict is Verdict.UNKNOWN
    assert "activity log" in found.summary
    assert "server process" not in found.summary
    for cause in found.causes:
        assert not NEEDS_MACHINE.search(cause.safe_first), cause.safe_first
        assert not any(NEEDS_MACHINE.search(text) for text in cause.never), cause.never
        assert not any("Not known: \n" in f.text or not f.text for f in cause.missing)
    own = diagnose(elsewhere(**_refused()))
    assert "server process" in own.summary


def _refused() -> dict[str, Any]:
    down = Missing(what="sessions", reason="no session: refused")
    return {
        "reach": w.reach("refused"),
        **dict.fromkeys(("sessions", "chains", "activity", "figures", "history"), down),
    }


def finding(cause: Cause) -> CauseFinding:
    return CauseFinding(
        id=cause.id,
        summary="",
        probability=0.9,
        safe_first=cause.safe_first,
        never=cause.never,
    )


@pytest.mark.parametrize("cause", CAUSES, ids=lambda c: str(c.id))
@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS)
def test_no_first_move_and_no_warning_asks_for_a_machine(cause: Cause, provider: Any) -> None:
    told = for_provider(finding(cause), provider)
    assert told.safe_first
    assert "{" not in told.safe_first
    assert not NEEDS_MACHINE.search(told.safe_first), told.safe_first
    assert not any(NEEDS_MACHINE.search(text) for text in told.never), told.never
    assert set(told.never) <= set(cause.never)


HARMLESS = (
    "idle_in_transaction",
    "blocking_chain",
    "missing_index",
    "plan_flip",
    "password_expired",
    "connections_leaked",
    "table_dropped",
    "xid_wraparound",
    "rights_revoked",
)


@pytest.mark.parametrize("name", HARMLESS)
def test_a_move_over_sql_is_told_word_for_word(name: str) -> None:
    cause = next(c for c in CAUSES if c.id == name)
    assert for_provider(finding(cause), RDS).safe_first == cause.safe_first


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("disk_full_data", "allocated storage"),
        ("checkpoint_storm", "parameter group"),
        ("hba_refused", "security groups"),
        ("stale_lock_file", "describe-events"),
        ("stopped_cleanly", "describe-events"),
    ],
)
def test_a_move_that_needs_the_machine_is_told_as_the_providers(name: str, says: str) -> None:
    cause = next(c for c in CAUSES if c.id == name)
    assert says in for_provider(finding(cause), RDS).safe_first


def test_a_full_disk_of_a_provider_is_never_told_to_be_freed_by_hand() -> None:
    full = w.volumes(w.volume("data", "wal", "log", free=0))
    own = diagnose(w.healthy(volumes=full))
    assert own.first is not None
    assert "ballast" in own.first.safe_first
    found = for_provider(own.first, RDS)
    assert "ballast" not in found.safe_first
    assert "pg_wal" not in " ".join(found.never)


def test_every_move_is_one_of_a_cause() -> None:
    assert {str(c.id) for c in CAUSES} >= set(MOVES)


def test_the_question_between_two_causes_needs_no_machine_either() -> None:
    assert question_for("What grew: pg_wal or base?", RDS) != "What grew: pg_wal or base?"
    assert question_for("Who holds the locks?", RDS) == "Who holds the locks?"
    assert question_for("", RDS) == ""


@pytest.mark.parametrize(
    ("dsn", "host", "managed"),
    [
        ("host=orders.x.rds.amazonaws.com user=a", "auto", "rds"),
        ("host=orders.x.rds.amazonaws.com user=a", "none", "rds"),
        ("host=orders.x.rds.amazonaws.com user=a", "managed", "rds"),
        ("host=orders.x.rds.amazonaws.com user=a", "local", ""),
        ("host=10.0.0.5 user=a", "managed", ANY_PROVIDER),
        ("host=10.0.0.5 user=a", "auto", ""),
        ("host=/run/postgresql user=a", "auto", ""),
    ],
)
def test_who_keeps_it_is_told_by_name_or_by_word(dsn: str, host: Any, managed: str) -> None:
    assert managed_by(dsn, host) == managed


def test_a_bundle_of_a_managed_server_is_judged_the_same_again() -> None:
    evidence = elsewhere(managed="rds")
    assert diagnose(replace(evidence)) == diagnose(evidence)
