"""What actions share that change something on a server by one statement of the acting role."""
