"""End idle sessions of the one application that leaks them, until there is headroom again."""
