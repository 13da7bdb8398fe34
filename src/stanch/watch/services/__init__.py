"""What the services that use a database answer. In: answers. Out: readings. Never: a question."""
