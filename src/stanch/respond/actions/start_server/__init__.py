"""Start a server that is down, through whoever manages it."""
