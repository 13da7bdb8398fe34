"""What faults are made with: tables, traffic, poolers, lines, storage, control groups, clocks."""
