"""Pools of connections in front of a server: a pooler's console, an application's own tables."""
