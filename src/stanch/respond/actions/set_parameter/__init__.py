"""Set or reset one parameter of the whole server, by reload."""
