"""One folder an action: `guards.py` decides from readings, `run.py` reads and acts."""
