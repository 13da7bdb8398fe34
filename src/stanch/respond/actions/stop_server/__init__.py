"""Stop a running server in order, through whoever manages it."""
