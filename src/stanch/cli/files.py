"""Files that a command writes where a person wants them."""

from __future__ import annotations

from pathlib import Path

from stanch.model.errors import SetupError


def write_file(path: str, content: str | bytes, *, option: str) -> None:
    """Write it whole, text as UTF-8. Raises SetupError, whose hint names the option."""
    try:
        if isinstance(content, str):
            Path(path).write_text(content, encoding="utf-8")
        else:
            Path(path).write_bytes(content)
    except OSError as error:
        raise SetupError(
            f"cannot be written: {error.strerror}", on=path, hint=f"{option} names another file."
        ) from error
