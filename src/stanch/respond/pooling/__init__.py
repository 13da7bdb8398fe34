"""What all changes of a pooler have in common: whose it is, and how it is commanded."""
