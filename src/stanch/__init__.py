"""Stanch: the first responder for PostgreSQL."""

__version__ = "0.1.0"
