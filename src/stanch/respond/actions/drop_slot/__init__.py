"""Drop one replication slot that nobody uses; its consumer has to be built anew."""
