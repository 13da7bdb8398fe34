"""What ending idle sessions would touch. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from stanch.model.diagnosis import CauseFinding, Scalar
from stanch.respond.telling import named
from stanch.steps.action import Planning


def preview(params: Mapping[str, Scalar], cause: CauseFinding) -> str:
    idle = named(cause.fact("idle_sessions"), "some")
    application = named(params.get("application_name"), "an unnamed application")
    used = named(cause.fact("client_backends"), "?")
    most = named(cause.fact("max_connections"), "?")
    return (
        f"End idle sessions of {application} (role {named(params.get('usename'), '?')}), oldest "
        f"first, out of {idle}, until there is headroom; {used} of {most} connections are in use."
    )


PLANNING = Planning(preview=preview, ranges=(("idle_sessions", 1, None),))
