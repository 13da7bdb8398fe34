"""Questions to the evidence, each a small pure function; causes weigh their answers."""
