"""Changes of the tables, one file each, in order; run when a store is opened for writing."""
