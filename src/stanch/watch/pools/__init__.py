"""What pools tell, as readings. In: pools. Out: readings. Never: a question to anybody."""
