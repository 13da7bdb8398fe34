"""The machine under a server: looked at every few seconds, told as readings."""
