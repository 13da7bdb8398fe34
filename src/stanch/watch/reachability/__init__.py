"""What a login tells beside getting in. In: how far it got. Out: readings. Never: a look."""
