"""Whether a flush of WAL that sessions wait for comes to an end while somebody looks."""
