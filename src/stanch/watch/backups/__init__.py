"""Looks at places of backups now and then: what lies there comes in, readings go out."""
