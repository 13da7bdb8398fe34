"""What `hooks` of a target say that cannot be."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import urlsplit

from stanch.model.hooks import Hook
from stanch.policy.places import PathTo
from stanch.policy.policy import TargetPolicy
from stanch.policy.quoting import quoted
from stanch.policy.reading import nearest

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


def hook_contradictions(target: TargetPolicy) -> Iterator[tuple[PathTo, str, str]]:
    """Where below the target, what, and the hint."""
    names = tuple(hook.name for hook in target.hooks)
    for hook in target.hooks:
        path = ("hooks", hook.name)
        for key, url in (("url", hook.url), ("verify_url", hook.verify_url)):
            if not is_safe(url):
                yield (*path, key), "leaves this machine in the clear", "Use https."
        if not _is_object(hook.body):
            yield (*path, "body"), "is not a JSON object", "Write it like '{\"enabled\": true}'."
        yield from _undo(hook, names, path)


def is_safe(url: str) -> bool:
    """Over https, or to this machine."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.hostname or "") in LOOPBACK
    except ValueError:
        return False


def _undo(hook: Hook, names: tuple[str, ...], path: PathTo) -> Iterator[tuple[PathTo, str, str]]:
    if hook.undo == hook.name:
        yield (*path, "undo"), "takes itself back", "Name the hook that does the opposite."
    elif hook.undo and hook.undo not in names:
        hint = nearest(hook.undo, names) or "Define it under `hooks`."
        yield (*path, "undo"), f"unknown hook {quoted(hook.undo)}", hint


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False
