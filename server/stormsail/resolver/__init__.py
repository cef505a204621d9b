"""DNS with its own limits: where mail for a domain goes (RFC 5321 §5.1, RFC 7505)."""

from .mx import MailHost, NoMailHost, Resolver

__all__ = ["MailHost", "NoMailHost", "Resolver"]
