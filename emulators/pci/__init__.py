"""The PCI front end of a model: configuration space, base addresses, interrupts, power and resets of one function.

What a function consists of is described in ``regmodel.pci`` and ``regmodel.capabilities``; here it behaves. Nothing in this
room knows a NIC, a packet or a socket.
"""
