"""Those who use a device: transports and drivers."""
