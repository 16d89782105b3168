"""A device package as somebody else would write it."""
