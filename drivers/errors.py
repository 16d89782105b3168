"""What can go wrong between a driver and its device, by kind. Each message is one line which says what to do about it."""

from __future__ import annotations

from regmodel.errors import RegmodelError


class DriverError(RegmodelError):
    """The root of what a driver or its transport raises."""


class NoSuchFunction(DriverError):
    """There is no PCI function of that address, or nobody serves at that socket."""


class PermissionDenied(DriverError):
    """The operating system does not let us: ``/dev/vfio``, a socket, locked memory."""


class NotViable(DriverError):
    """A VFIO group cannot be used: not bound to vfio-pci, shared with a function that is not, or open elsewhere."""


class NotSupported(DriverError):
    """This transport, device or peer cannot do that. It will not change by trying again."""


class DeviceGone(DriverError):
    """All registers read ones, or the other side of the socket has hung up."""


class DeviceTimeout(DriverError):
    """The device has not done in its time what the driver waits for."""


class ResetStuck(DeviceTimeout):
    """A reset does not end."""


class MailboxTimeout(DeviceTimeout):
    """A message was not acknowledged or not answered."""


class MailboxRefused(DriverError):
    """The PF answered a request with NACK."""


class UnsupportedReply(DriverError):
    """An answer that does not belong to the request, or a version of the interface that this driver does not speak."""


class LinkDown(DriverError):
    """Something needs the link, and it is down or does not stay up."""


class InterruptStorm(DriverError):
    """A vector fires far more often than there is anything to do."""


class RingError(DriverError):
    """A descriptor ring is not what the driver left: overrun, head beyond the end, write-back that cannot be."""


class ReplayMismatch(DriverError):
    """The driver did something else than what was recorded."""


class Difference(DriverError):
    """Two devices in lock-step did not do the same."""
