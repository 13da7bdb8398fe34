"""Plays one act: breaks the server, watches what the responder does, and has it judged."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from stanch.drill.acts.act import Act, Broken, NotStaged
from stanch.drill.judging import Outside, PageSeen, Seen, Status, judge
from stanch.drill.mailbox import Mail
from stanch.drill.narrator import Narrator
from stanch.drill.result import Result
from stanch.drill.scene import Place, Scene
from stanch.drill.told import Entry, moment_of, told_of
from stanch.policy.quoting import printable

POLL_S = 0.1
RESOLVE_WITHIN_S = 15.0
"""Beside the time for the rescue itself."""
CALM_WITHIN_S = 20.0
OUTSIDE_SQL = "INSERT INTO load_row (writer, filler) VALUES (-1, 'seen from outside')"
ROWS_SQL = "SELECT count(*) FROM load_row WHERE writer >= 0"


@dataclass(slots=True)
class _Watched:
    """What has been told of an act so far."""

    since: datetime
    mails_before: int
    incident_id: str = ""
    others: tuple[str, ...] = ()
    told_seq: int = 0
    pages: list[PageSeen] = field(default_factory=list[PageSeen])
    resolved: bool = False


class Stage:
    """One scene, act after act."""

    def __init__(self, scene: Scene, narrator: Narrator) -> None:
        self._scene = scene
        self._narrator = narrator

    def play(self, act: Act, cannot: str) -> Result:
        """The judged act; `cannot` says why it is skipped, where it is."""
        result = self._skipped(act, cannot) if cannot else self._played(act)
        self._narrator.act_ended(result)
        return result

    def _played(self, act: Act) -> Result:
        place = self._scene.places[act.target]
        if not self._is_calm(act.target):
            return self._failed(act, "the incident before it is still open")
        if not place.load.wait_for_rows(5, timeout_s=CALM_WITHIN_S):
            return self._failed(act, "the application could not write before it began")
        place.load.reset_outage()
        watched = _Watched(since=datetime.now(UTC), mails_before=len(self._scene.mailbox.mails))
        try:
            with act.breaks(place) as broken:
                self._narrator.broken(broken)
                self._watch(act, watched)
                self._find_incident(act.target, watched)
                outside = look_from_outside(place)
                return self._judged(act, broken, watched, outside)
        except NotStaged as reason:
            self._is_calm(act.target)
            return self._skipped(act, str(reason))

    # --- watching ---

    def _watch(self, act: Act, watched: _Watched) -> None:
        """Until the incident is resolved, or it has taken too long."""
        end = time.monotonic() + act.expected.rescued_within_s + RESOLVE_WITHIN_S
        while not watched.resolved and time.monotonic() < end:
            if not watched.incident_id:
                self._find_incident(act.target, watched)
            told: list[tuple[datetime, Entry | PageSeen]] = [*self._new_entries(watched)]
            told += [(page.at, page) for page in self._new_pages(watched)]
            for _, one in sorted(told, key=lambda t: t[0]):
                if isinstance(one, PageSeen):
                    self._narrator.paged(one)
                else:
                    self._narrator.entry(one)
            time.sleep(POLL_S)

    def _find_incident(self, target: str, watched: _Watched) -> None:
        """The first incident of the target since the act began; later ones are others."""
        found = [
            str(one["id"])
            for one in reversed(self._scene.responder.incidents())
            if one["target"] == target and datetime.fromisoformat(one["opened_at"]) >= watched.since
        ]
        if found:
            watched.incident_id, *others = found
            watched.others = tuple(others)

    def _new_entries(self, watched: _Watched) -> Sequence[tuple[datetime, Entry]]:
        if not watched.incident_id:
            return ()
        shown: dict[str, Any] = self._scene.responder.incident(watched.incident_id)
        fresh = [e for e in shown.get("timeline", ()) if e["seq"] > watched.told_seq]
        if fresh:
            watched.told_seq = fresh[-1]["seq"]
        watched.resolved = shown.get("status") == "resolved"
        return [(moment_of(entry), entry) for entry in fresh]

    def _new_pages(self, watched: _Watched) -> Sequence[PageSeen]:
        mails = self._scene.mailbox.mails[watched.mails_before :]
        pages = [page_of(m) for m in mails if is_page_of(m, watched.incident_id)]
        fresh = pages[len(watched.pages) :]
        watched.pages = pages
        return fresh

    def _is_calm(self, target: str) -> bool:
        """Whether no incident of the target is open, or the last one ends soon."""
        end = time.monotonic() + CALM_WITHIN_S
        while any(
            one["target"] == target and one["status"] not in ("resolved", "merged")
            for one in self._scene.responder.incidents()
        ):
            if time.monotonic() > end:
                return False
            time.sleep(POLL_S)
        return True

    # --- results ---

    def _judged(self, act: Act, broken: Broken, watched: _Watched, outside: Outside) -> Result:
        told, path = None, Path()
        if watched.incident_id:
            told = told_of(self._scene.responder.incident(watched.incident_id))
            path = self._scene.post_mortems / f"{watched.incident_id}.md"
            self._scene.responder.write_post_mortem(watched.incident_id, path)
        seen = Seen(
            broke_at=broken.at,
            told=told,
            others=watched.others,
            pages=tuple(watched.pages),
            outside=outside,
        )
        reasons = judge(act.expected, seen)
        return Result(
            act=act.name,
            title=act.title,
            status=Status.FAILED if reasons else Status.OK,
            reasons=reasons,
            seen=seen,
            post_mortem=str(path) if told else "",
        )

    def _skipped(self, act: Act, reason: str) -> Result:
        return Result(act=act.name, title=act.title, status=Status.SKIPPED, reasons=(reason,))

    def _failed(self, act: Act, reason: str) -> Result:
        return Result(act=act.name, title=act.title, status=Status.FAILED, reasons=(reason,))


def look_from_outside(place: Place) -> Outside:
    """A fresh login and a write as the application's role, and whether its rows are all there."""
    report = place.load.report()
    outage_s, still_out = None, False
    if report.first_failure_s is not None:
        still_out = report.recovered_s is None
        if report.recovered_s is not None:
            outage_s = round(report.recovered_s - report.first_failure_s, 3)
    try:
        place.server.query(OUTSIDE_SQL, user="app")
        [(rows,)] = place.server.query(ROWS_SQL, user="app")
    except psycopg.Error as error:
        detail = printable(str(error).strip())[:300]
        return Outside(
            login_and_write_ok=False, detail=detail, outage_s=outage_s, still_out=still_out
        )
    lost = max(0, report.committed_rows - rows)
    told = f"a fresh login of app writes; {report.committed_rows} confirmed rows, {lost} lost"
    return Outside(
        login_and_write_ok=True,
        detail=told,
        rows_lost=lost,
        outage_s=outage_s,
        still_out=still_out,
    )


def is_page_of(mail: Mail, incident_id: str) -> bool:
    """Whether a mail is a page about this incident, and no update."""
    about, kind = mail.content["X-Stanch-Incident"], mail.content["X-Stanch-Kind"]
    return bool(incident_id) and (about, kind) == (incident_id, "page")


def page_of(mail: Mail) -> PageSeen:
    """What a person with only the first line in view is told."""
    first, *_ = mail.text.splitlines() or [""]
    return PageSeen(
        to=", ".join(mail.recipients), subject=mail.subject, short=first, at=mail.taken_at
    )
