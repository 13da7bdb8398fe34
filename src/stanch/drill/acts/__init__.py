"""The acts of the demonstration, one file each: how the server is broken, what must follow."""
