"""Commands of ``regmodel`` which use drivers. Each is found by entry point; the work is done in the rooms beside."""
