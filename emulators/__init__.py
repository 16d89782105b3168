"""Devices that behave: the vfio-user server, the PCI function, the NIC models, the fabric between them, and the lab."""
