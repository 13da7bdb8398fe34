"""Remove the dead rows of one table, or freeze its old ones; never rewrite it."""
