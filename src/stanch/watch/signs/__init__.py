"""The loop that asks whoever knows something beside the server.

In: sources. Out: readings. Never: two looks at one source at once.
"""
