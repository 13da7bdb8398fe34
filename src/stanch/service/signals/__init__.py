"""Signals from outside at run time: taken and made durable, told to incidents, waited for.

http, mailbox, heartbeats -> intake -> rows in the store -> attaching -> incidents
"""
