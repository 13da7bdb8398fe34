"""Make the statistics of one table anew."""
