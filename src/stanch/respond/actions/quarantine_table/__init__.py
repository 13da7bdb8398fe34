"""Take the rights to write to a table, or to those of a schema, from all but their owners."""
