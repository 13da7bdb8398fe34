"""Certificates, a pg_hba.conf that cannot be read, and servers that take no writes."""

from __future__ import annotations

from datetime import datetime

from stanch.diagnose.cause import Cause, Onset, Section, Weigh
from stanch.diagnose.causes.common import DOC, Facts, server_facts
from stanch.diagnose.causes.ids import (
    CERTIFICATE_EXPIRED,
    CERTIFICATE_UNTRUSTED,
    CREDENTIALS_REFUSED,
    DISK_FULL_DATA,
    HBA_INVALID,
    HBA_REFUSED,
    NETWORK_UNREACHABLE,
    OTHER_CLUSTER,
    READ_ONLY_SETTING,
    RIGHTS_REVOKED,
    STANDBY_WRITTEN_TO,
)
from stanch.diagnose.causes.logins import FORBIDS, NEVER_RESTART
from stanch.diagnose.clues import access
from stanch.diagnose.clues.access import hba_not_taken, read_only_by_role
from stanch.diagnose.clues.refusals import first_of, lines_lately
from stanch.diagnose.evidence import Evidence, value_of
from stanch.model.changes import ItemKind
from stanch.model.shown import shortened, span
from stanch.model.symptoms import SymptomKind

NEVER_PLAIN = (
    "Do not switch checking or encryption off everywhere (sslmode=disable): passwords and rows "
    "would cross the network in the clear."
)


def _ends(evidence: Evidence) -> datetime | None:
    reach = value_of(evidence.reach)
    return reach.certificate_ends if reach is not None else None


def _tell_expired(evidence: Evidence) -> str:
    ends = _ends(evidence)
    if ends is None or ends > evidence.at:
        return "The server's certificate has expired: clients that check it do not connect."
    ago = span((evidence.at - ends).total_seconds())
    return f"The server's certificate expired {ago} ago: clients that check it do not connect."


def _tell_untrusted(evidence: Evidence) -> str:
    reach = value_of(evidence.reach)
    layer = reach.failed_layer if reach is not None else None
    said = f" ({shortened(layer.detail, 150)})" if layer is not None and layer.detail else ""
    return f"Clients do not trust the certificate that the server shows{said}."


def _tls_facts(evidence: Evidence) -> Facts:
    ends = _ends(evidence)
    return (
        *server_facts(evidence),
        ("certificate_ends", ends.isoformat() if ends else None),
        ("clients_that_gave_up", lines_lately(evidence, access.TLS_REFUSED)),
    )


certificate_expired = Cause(
    id=CERTIFICATE_EXPIRED,
    section=Section.ACCESS,
    sentence="The certificate that the server shows is past its last day.",
    onset=Onset.AT_ONCE,
    impact="At once for every new connection that checks it; open sessions and clients that do "
    "not check go on.",
    family="access",
    prior=-3.0,
    weighs=(
        Weigh(clue=access.expiry_said, yes=7.0, no=0.0, now=True),
        # Where nobody checks it, an old certificate harms nobody.
        Weigh(clue=access.certificate_over, yes=2.5, no=-4.0, now=True),
        Weigh(clue=access.expiry_hung_up, yes=3.5, no=-0.5),
    ),
    shown_by=(
        (access.expiry_said, True),
        (access.certificate_over, True),
        (access.expiry_hung_up, True),
    ),
    tell=_tell_expired,
    facts=_tls_facts,
    began=lambda e: end if (end := _ends(e)) is not None and end <= e.at else None,
    apart={
        CERTIFICATE_UNTRUSTED: "Is the last day of the certificate past (notAfter)?",
        CREDENTIALS_REFUSED: "Does the connection end before anybody is asked for a password?",
    },
    symptoms=(SymptomKind.CERTIFICATE_EXPIRING, SymptomKind.UNWATCHED),
    safe_first="Put the renewed certificate and its key in place and reload: the server takes "
    "them without a restart.",
    never=(NEVER_PLAIN, NEVER_RESTART),
    follows_change=(ItemKind.SETTING, ItemKind.SERVER),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}ssl-tcp.html",
)

certificate_untrusted = Cause(
    id=CERTIFICATE_UNTRUSTED,
    section=Section.ACCESS,
    sentence="Clients that check it do not trust the server's certificate: another issuer, another "
    "name, or one that it signed itself.",
    onset=Onset.AT_START,
    impact="At once for every new connection that checks it; open sessions go on.",
    family="access",
    prior=-3.0,
    weighs=(
        Weigh(clue=access.distrust_said, yes=7.0, no=0.0, now=True),
        Weigh(clue=access.distrust_hung_up, yes=3.0, no=-0.5),
        Weigh(clue=access.chain_broke, yes=3.5, no=-0.5, now=True),
        Weigh(clue=access.certificate_over, yes=-3.0, no=0.5, now=True),
    ),
    shown_by=((access.distrust_said, True), (access.distrust_hung_up, True)),
    tell=_tell_untrusted,
    facts=_tls_facts,
    began=lambda e: first_of(e, access.TLS_REFUSED),
    apart={
        CREDENTIALS_REFUSED: "Does the connection end before anybody is asked for a password?",
        OTHER_CLUSTER: "Is the server that shows the certificate the one that is meant?",
        NETWORK_UNREACHABLE: "Does a TLS handshake begin at all?",
    },
    symptoms=(SymptomKind.CERTIFICATE_UNTRUSTED, SymptomKind.UNWATCHED),
    safe_first="Compare the certificate that is shown (openssl s_client -starttls postgres) with "
    "the one before; give clients the new issuer, or the server its old certificate.",
    never=(
        NEVER_PLAIN,
        "Do not make clients trust it before it is known whose server shows it.",
        NEVER_RESTART,
    ),
    follows_change=(ItemKind.SETTING, ItemKind.SERVER, ItemKind.IMAGE, ItemKind.ROLLOUT),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}libpq-ssl.html",
)


def _tell_hba(evidence: Evidence) -> str:
    event = hba_not_taken(evidence)
    when = f" at {event.at:%H:%M:%S} UTC" if event is not None and event.at is not None else ""
    return (
        "pg_hba.conf has lines that the server cannot read: its last reload"
        f"{when} changed nothing, and its next start would fail."
    )


hba_invalid = Cause(
    id=HBA_INVALID,
    section=Section.ACCESS,
    sentence="pg_hba.conf has a line that the server cannot read: the old rules hold on, whatever "
    "was meant, and the next start fails.",
    onset=Onset.AT_START,
    impact="Nobody, until the next start or until somebody needs the new rules.",
    family="hba_file",
    prior=-3.0,
    weighs=(
        Weigh(clue=access.hba_errors_read, yes=6.0, no=-4.0, now=True),
        Weigh(clue=access.hba_not_reloaded, yes=6.0, no=-1.0),
    ),
    shown_by=((access.hba_errors_read, True), (access.hba_not_reloaded, True)),
    tell=_tell_hba,
    facts=server_facts,
    began=lambda e: event.at if (event := hba_not_taken(e)) else None,
    apart={
        HBA_REFUSED: "Does pg_hba_file_rules show a line with an error?",
    },
    symptoms=(SymptomKind.HBA_ERRORS, SymptomKind.LOG_CONFIG_ERROR),
    safe_first="Read the error in pg_hba_file_rules, mend that line, reload, and look that the "
    "view shows no error any more.",
    never=(
        "Do not restart the server before the file is mended: it would not come back.",
        "Do not open pg_hba.conf to everybody (trust) to be rid of the error.",
    ),
    follows_change=(ItemKind.SETTING,),
    forbids=("set_aside_lock_file",),
    runbook="",
    source=f"{DOC}view-pg-hba-file-rules.html",
)


def _tell_read_only(evidence: Evidence) -> str:
    found = read_only_by_role(evidence)
    whose = f" for {shortened(found.subject, 100)} (role@database)" if found is not None else ""
    lines = lines_lately(evidence, access.READ_ONLY)
    refused = f"; {lines} writes were refused lately" if lines else ""
    return f"default_transaction_read_only is on{whose}: new transactions cannot write{refused}."


read_only_setting = Cause(
    id=READ_ONLY_SETTING,
    section=Section.ACCESS,
    sentence="default_transaction_read_only was switched on: the primary lives, and takes no "
    "writes.",
    onset=Onset.AT_START,
    impact="At once for whoever writes; reads go on.",
    family="read_only",
    prior=-3.0,
    weighs=(
        Weigh(clue=access.switched_said, yes=2.0, no=-0.5, now=True),
        Weigh(clue=access.switched_for_all, yes=3.5, no=-1.0, now=True),
        Weigh(clue=access.writes_refused, yes=3.0, no=-0.5),
        Weigh(clue=access.switched_lately, yes=2.0, no=0.0),
        Weigh(clue=access.is_standby, yes=-8.0, no=0.5, now=True),
    ),
    shown_by=((access.switched_said, True), (access.writes_refused, True)),
    tell=_tell_read_only,
    facts=lambda e: (
        *server_facts(e),
        ("set_for", found.subject if (found := read_only_by_role(e)) else None),
        ("refused_writes", lines_lately(e, access.READ_ONLY)),
    ),
    began=lambda e: first_of(e, access.READ_ONLY),
    apart={
        STANDBY_WRITTEN_TO: "Does pg_is_in_recovery() say true?",
        DISK_FULL_DATA: "Which SQLSTATE do writes end with: 25006 (read-only) or 53100 (no space)?",
        RIGHTS_REVOKED: "Which SQLSTATE do writes end with: 25006 (read-only) or 42501 (rights)?",
    },
    symptoms=(SymptomKind.WRITES_FAILING,),
    safe_first="Find out who switched it on and why (a failover script, a full disk, a migration); "
    "when that is over, reset the setting where it stands and reload.",
    never=(
        "Do not promote a standby: this server is the primary and takes writes once it may.",
        "Do not restart the server: the setting would stay as it is.",
    ),
    follows_change=(ItemKind.SETTING, ItemKind.ROLE, ItemKind.DATABASE),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}runtime-config-client.html#GUC-DEFAULT-TRANSACTION-READ-ONLY",
)


def _tell_standby(evidence: Evidence) -> str:
    lines = lines_lately(evidence, access.READ_ONLY)
    before = " It was a primary before." if access.was_primary.ask(evidence).yes else ""
    refused = f": {lines} writes were refused lately" if lines else ""
    return f"Clients write to a standby{refused}.{before}"


standby_written_to = Cause(
    id=STANDBY_WRITTEN_TO,
    section=Section.ACCESS,
    sentence="Clients write to a standby: a name, a pooler or a connection string leads to the "
    "wrong server.",
    onset=Onset.AT_ONCE,
    impact="At once for whoever writes there; reads go on, and may be late.",
    family="read_only",
    prior=-3.0,
    weighs=(
        Weigh(clue=access.is_standby, yes=1.0, no=-8.0, now=True),
        Weigh(clue=access.writes_refused, yes=4.0, no=-3.0),
        Weigh(clue=access.was_primary, yes=2.0, no=0.0),
    ),
    shown_by=((access.writes_refused, True),),
    tell=_tell_standby,
    facts=lambda e: (
        *server_facts(e),
        ("refused_writes", lines_lately(e, access.READ_ONLY)),
    ),
    began=lambda e: first_of(e, access.READ_ONLY),
    apart={
        OTHER_CLUSTER: "Is the system identifier of who answers the one that is meant?",
    },
    symptoms=(SymptomKind.ERROR_RATE_HIGH, SymptomKind.LOG_ERRORS),
    safe_first="Find the primary, and what leads there (the name's address, the pooler's host, "
    "target_session_attrs); point the clients to it.",
    never=(
        "Do not promote this standby: that makes a second primary.",
        "Do not restart the server: it does what a standby has to.",
    ),
    follows_change=(
        ItemKind.SERVER,
        ItemKind.SETTING,
        ItemKind.DEPLOY,
        ItemKind.ROLLOUT,
        ItemKind.EVENT,
    ),
    forbids=FORBIDS,
    runbook="",
    source=f"{DOC}libpq-connect.html#LIBPQ-CONNECT-TARGET-SESSION-ATTRS",
)
