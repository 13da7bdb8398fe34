"""How values read when they are shown to people."""

from __future__ import annotations

from datetime import UTC, datetime


def span(seconds: float) -> str:
    """A length of time in the two largest units that matter: `0.4 s`, `4 min 10 s`, `2 d 3 h`."""
    if seconds < 0:
        return f"-{span(-seconds)}"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    whole = round(seconds)
    for large, large_s, small, small_s in _UNITS:
        if whole >= large_s:
            rest = whole % large_s // small_s
            return f"{whole // large_s} {large}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


_UNITS = (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1))


def moment(at: datetime) -> str:
    """Date and time in UTC, to the second."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def percent(probability: float) -> str:
    """A probability in whole percent; never 0 % or 100 %, because neither is ever known."""
    return f"{min(99, max(1, round(probability * 100)))}%"


def never(text: str) -> str:
    """A warning that stands alone: `Do not stop it` after a "never" would say the opposite."""
    rest = text.removeprefix("Do not ")
    return f"Never: {text}" if rest == text else f"Never {rest}"


def shortened(text: str, chars_max: int) -> str:
    """The text, cut to at most `chars_max` characters; a cut ends in an ellipsis."""
    if len(text) <= chars_max:
        return text
    return text[: max(0, chars_max - 1)].rstrip() + "…" if chars_max > 0 else ""


def human_bytes(count: float) -> str:
    """1536 -> `1.5 KiB`; whole bytes below 1 KiB."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if abs(size) < 1024:
            break
        size, unit = size / 1024, larger
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
