"""A pytest plugin: leaves out every test that asks for a server, so that the rest is quick."""

from __future__ import annotations

import pytest

HEAVY = frozenset({"server", "pg_major", "servers", "story", "pgbouncer", "dockerd", "machine"})


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Items whose fixtures start something."""
    heavy = [i for i in items if HEAVY & set(getattr(i, "fixturenames", ()))]
    config.hook.pytest_deselected(items=heavy)
    items[:] = [i for i in items if i not in heavy]
