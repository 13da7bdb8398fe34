"""Every fault of the lab, by its id."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping

from stanch.drill.lab import faults
from stanch.drill.lab.fault import Fault
from stanch.drill.lab.faults import harmless

INCIDENTS = "incidents"
"""How modules of `faults` begin that have been made from incidents as they were told in public."""


def _collected() -> Mapping[str, Mapping[str, Fault]]:
    sets: dict[str, dict[str, Fault]] = {"faults": {}, INCIDENTS: {}}
    for module in pkgutil.iter_modules(faults.__path__):
        if module.name == "harmless":
            continue
        into = sets[INCIDENTS if module.name.startswith(INCIDENTS) else "faults"]
        for fault in importlib.import_module(f"{faults.__name__}.{module.name}").FAULTS:
            known = any(fault.id in one for one in sets.values())
            assert not known, f"two faults are called {fault.id}"
            into[fault.id] = fault
    return sets


SETS: Mapping[str, Mapping[str, Fault]] = _collected()
"""`faults`, for each cause, and `incidents`, put together as they were told: nothing is tuned on
those."""

BY_ID: Mapping[str, Fault] = {name: fault for one in SETS.values() for name, fault in one.items()}

HARMLESS: Mapping[str, Fault] = {noise.id: noise for noise in harmless.FAULTS}
"""What looks like trouble, happens every day, and breaks nothing."""
