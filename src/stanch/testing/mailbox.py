"""A mail server on this machine that keeps what it gets, and misbehaves when told to.

Real SMTP over loopback, nothing leaves the machine. Needs aiosmtpd, from the extra `lab`. It lives
below, because the demonstration uses it as well.
"""

from stanch.drill.mailbox import Close, Fault, Hang, Mail, Mailbox, Reply

__all__ = ["Close", "Fault", "Hang", "Mail", "Mailbox", "Reply"]
