"""Every fault of the lab, by its id."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from stanch.drill.lab import faults
from stanch.drill.lab.fault import Fault
from stanch.drill.lab.faults import harmless


def _collected() -> Mapping[str, Fault]:
    found: dict[str, Fault] = {}
    for module in pkgutil.iter_modules(faults.__path__):
        if module.name == "harmless":
            continue
        for fault in importlib.import_module(f"{faults.__name__}.{module.name}").FAULTS:
            assert fault.id not in found, f"two faults are called {fault.id}"
            found[fault.id] = fault
    return found


BY_ID: Mapping[str, Fault] = _collected()

HARMLESS: Mapping[str, Fault] = {noise.id: noise for noise in harmless.FAULTS}
"""What looks like trouble, happens every day, and breaks nothing."""
