"""Set a timeout with which new sessions of one role start."""
