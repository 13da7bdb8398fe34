"""Renew the server connections of a pool as they are released; nobody's work is lost."""
