"""Every error that Thalweg raises for a reason a caller can act on.

A message is one line that says what was asked, what was found, who (distribution and version) and what to do.
The command line prints it without a traceback and exits with a non-zero status.
"""

from __future__ import annotations


class ThalwegError(Exception):
    """Base of all errors that Thalweg raises on purpose."""


class InvalidArgument(ThalwegError, ValueError):
    """A caller passed a value that does not fit: a shape, dtype, name, option or file."""


class UnknownName(ThalwegError, LookupError):
    """A name (plugin, device, function, phase) that is not there; the message lists what is."""


class NotSupported(ThalwegError):
    """A capability that this plugin, device or op does not have.

    :param capability: the capability's slug, or a sentence naming the form that is not supported.
    """

    def __init__(self, capability: str, message: str | None = None):
        super().__init__(message or f"not supported: {capability}")
        self.capability = capability


class PluginError(ThalwegError):
    """A plugin that cannot be used: import failure, failed validation, API version, two claimants,
    blocked.
    """


class CompileError(ThalwegError):
    """The compiler cannot turn this model into a module; the message names the phase and the source node."""


class ModuleFormatError(ThalwegError):
    """A module file that is damaged, truncated, too new, or asks for a feature that is not here."""


class ParameterError(ThalwegError):
    """A parameter file that is damaged or not read here, or that does not hold what a module asks for."""


class OutOfRange(ThalwegError, IndexError):
    """An offset and length outside a buffer, table or executable."""


class PermissionDenied(ThalwegError):
    """A buffer used against its memory type, usage or access, or native code that the caller refused."""


class ResourceExhausted(ThalwegError):
    """Memory or another bounded resource of a device is used up."""


class Unavailable(ThalwegError):
    """A driver or device that is installed but cannot be used on this machine now; the message says why."""


class DeadlineExceeded(ThalwegError, TimeoutError):
    """A wait that ran into its timeout."""


class Aborted(ThalwegError):
    """Work that failed: a kernel returned a status, or a semaphore it waited on failed first."""
