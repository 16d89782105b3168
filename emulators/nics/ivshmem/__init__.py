"""Inter-VM shared memory: the device, its client of an ivshmem server, and a server.

It is no NIC: nothing of it is on a switch. It lives here because it is a family of models like any other.
"""
