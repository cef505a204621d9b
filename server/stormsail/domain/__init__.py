"""Values and decisions, pure: no I/O, no third party but msgspec."""
