"""The page that lists what `stanch runbook lint` finds. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from stanch.respond.lint.hazards import HAZARDS

HEAD = """# Hazards in runbooks

Made from the code by `make docs`. What `stanch runbook lint` finds in a runbook
([how](runbook-lint.md)), why it makes an incident worse, and what does the same without the danger.
**danger** may lose data or the service; **care** misleads, or does harm in some circumstances.
"""


def hazards_page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *_hazards()]) + "\n"


def _hazards() -> Iterator[str]:
    for hazard in HAZARDS:
        what = f"{hazard.what[:1].upper()}{hazard.what[1:]}"
        yield f"## {hazard.id}\n"
        yield f"**{hazard.danger}.** {what}.\n"
        yield f"- **Why:** {hazard.why}."
        yield f"- **Instead:** {hazard.instead}."
        yield f"- **Read:** <{hazard.source}>\n"
