"""Restart the server's container in order: a fast shutdown with its checkpoint, then a start."""
