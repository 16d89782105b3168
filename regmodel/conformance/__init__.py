"""The judge of everything that claims to be a described device: model, socket, silicon or RTL.

It is handed something that reads and writes, and knows nothing of how it works. No emulator, driver or transport in here.
"""
