"""Stanch: the first responder for PostgreSQL."""
