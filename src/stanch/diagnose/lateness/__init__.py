"""How late our own process was, so that nobody else is blamed for it."""
