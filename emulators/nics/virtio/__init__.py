"""virtio-net: legacy, transitional and modern."""
