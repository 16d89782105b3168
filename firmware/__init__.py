"""Images that a guest or a device runs, and the loader for them."""
