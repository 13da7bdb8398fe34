"""Templates of HTML files: what goes in is escaped, and nothing in them is undefined."""

from __future__ import annotations

from typing import Any

from stanch.model.errors import SetupError


def page(template: str) -> Any:
    """Jinja's template of a page. Raises: SetupError where the extra `reports` is missing."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise SetupError(
            "the HTML page needs stanch[reports]",
            hint="pip install 'stanch[reports]'; without it, --json and the text have the same.",
        ) from error
    environment = Environment(
        loader=PackageLoader("stanch.cli", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template)
