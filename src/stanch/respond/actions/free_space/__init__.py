"""Delete files that were kept or have aged for this day, one at a time, until there is room."""
