"""Message bytes, pure: what stands in a header, our trace fields, notices and messages written here."""
