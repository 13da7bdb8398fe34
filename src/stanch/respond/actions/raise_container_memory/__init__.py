"""Raise the memory limit of the server's container, and nothing else of it."""
