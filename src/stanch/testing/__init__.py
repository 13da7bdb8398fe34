"""Public stand-ins: what tests, benchmarks and the simulator put in the place of the world."""
