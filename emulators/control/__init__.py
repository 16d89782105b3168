"""The control socket: how everything but QEMU looks at and steers a running server.

JSON lines over a Unix socket (mode 0600), several clients, served by the port's own loop but never able to slow it: what a
client does not read in time is dropped and counted, and it is told how much it lost.
"""
