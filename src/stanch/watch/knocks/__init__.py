"""Knocks beside a login: their fate tells a way that loses packets from a server that is gone."""
