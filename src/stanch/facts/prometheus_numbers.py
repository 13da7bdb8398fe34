"""The one number that Prometheus answers an instant query with."""

from __future__ import annotations

import math
from typing import cast

from stanch.facts.machines.json_values import as_object, part, text
from stanch.model.diagnosis import Missing

NO_NUMBER_NOW = "the query gives no number now"


def parse_number(answer: object) -> float | Missing:
    """A scalar, or the value of the one series of a vector.

    NaN is what 0 / 0 gives: nothing was counted, so there is no number. Nor is there one of several
    series, of which none is the answer.
    """
    said = as_object(answer)
    if said.get("status") != "success":
        return _missing(text(said, "error") or "this is not the answer of a Prometheus")
    data = part(said, "data")
    kind, result = text(data, "resultType"), data.get("result")
    listed = cast("list[object]", result) if isinstance(result, list) else []
    if kind == "scalar":
        return _number(listed)
    if kind != "vector":
        return _missing(f"the query gives a {kind or 'value of no kind'}, not a number")
    if len(listed) != 1:
        return _missing(f"the query gives {len(listed)} series in place of one")
    value = as_object(listed[0]).get("value")
    return _number(cast("list[object]", value) if isinstance(value, list) else [])


def _number(sample: list[object]) -> float | Missing:
    try:
        value = float(str(sample[1])) if len(sample) == 2 else math.nan
    except ValueError:
        value = math.nan
    return value if math.isfinite(value) else _missing(NO_NUMBER_NOW)


def _missing(reason: str) -> Missing:
    return Missing(what="metric", reason=reason)
