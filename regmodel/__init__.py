"""Descriptions of network devices, and what can be computed from them.

No sockets, no threads, no files, no QEMU in here: those who serve a device live in ``emulators``, those who drive one
in ``drivers``.
"""
