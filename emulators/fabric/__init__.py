"""The wire side of a NIC port: the L2 switch between its pools and its uplink, and the packet back ends for the uplink.

In here: ``switch`` (one per port), ``pool`` (what the PF programs per VF), ``uplink``, and the back ends in ``backends/``.
What may not enter: registers, descriptors, mailboxes, anything named after one NIC.
"""
