"""Follows the logs of a target: new lines come in, counts by class and by address go out."""
