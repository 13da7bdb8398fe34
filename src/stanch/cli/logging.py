"""Log lines of the core process: for people on a terminal, as JSON for collectors."""

from __future__ import annotations

import logging
import sys

import structlog


def set_up_logging(*, as_json: bool) -> None:
    """Everything goes to standard error; control characters from outside are escaped."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if as_json else _as_it_is,
            _escaped,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )


def _as_it_is(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    return event


def _escaped(
    logger: object, name: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """A server's words must not move the cursor of whoever reads the log."""
    for key, value in event.items():
        if isinstance(value, str) and key != "exception" and not value.isprintable():
            event[key] = value.encode("unicode_escape").decode("ascii")
    return event
