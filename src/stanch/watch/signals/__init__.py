"""Signals from outside: payloads of other monitors, mails and heartbeats in, `Signal`s out.

One module a format; each takes what arrived as values and returns the signals in it, or why there
are none. Nothing here listens, waits, stores or believes what a payload says about itself.
"""
