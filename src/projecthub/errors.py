"""Every error projecthub raises.

::

    HubError            code, message, details
    |- CallerError      change the call
    |  |- InvalidArgument     an argument is malformed or out of range
    |  |- UnknownMethod       no method of that name
    |  |- NotSignedIn         no key, or not a valid one
    |  |- PermissionDenied    signed in, but not allowed
    |  |  `- OwnershipDenied  an owner's matter
    |  |- NotFound            no such account, project, path, share, license, key
    |  |- Conflict            the thing is not in a state that allows it
    |  |  `- StoppedMeanwhile    a start is void
    |  `- QueryRefused        a user query breaks the rules of its table
    |- LimitError       wait, or ask for more
    |  `- RateLimited         too often; `retry_after_s` says when to come again
    |- ProjectError     the project's side failed
    |  |- StartFailed         the project server did not come up
    |  |- EndFailed           its processes are not ours to end
    |  |- ServerLost          the project server does not answer
    |  |- KernelDied          a kernel ended, or did not come up
    |  `- ExecFailed          a command failed, was killed, or could not run
    |- CallTimeout      the wait was bounded and has ended; the operation goes on
    |- InternalError    our fault: logged under an id, told without details
    |  `- StoreUnavailable    the store cannot be read or changed now; told, for waiting or the operator helps
    `- ClientError      raised by the client alone
       |- TransportError      no answer from the hub
       |- ProtocolError       an answer that is not the wire
       `- RemoteError         a refusal that we cannot name

A branch says who can act on the error. Every message names the value that was wrong and says what to do, and none
holds a path of the server. The docstring of a class is its default message.
"""

from __future__ import annotations

from math import ceil
from typing import ClassVar


class HubError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str | None = None, **details: object) -> None:
        """Make an error.

        Args:
            message: What was wrong with which value, and what to do. Default: the first line of the docstring.
            **details: Machine-readable facts, kept as ``details``; never secrets.
        """
        self.message = message if message is not None else (type(self).__doc__ or "").splitlines()[0]
        self.details = details
        super().__init__(self.message)


class CallerError(HubError):
    """The call has to be changed."""

    code = "caller_error"


class InvalidArgument(CallerError):
    """An argument is malformed or out of range."""

    code = "invalid_argument"


class UnknownMethod(CallerError):
    """There is no method of that name."""

    code = "unknown_method"


class NotSignedIn(CallerError):
    """No valid API key was given."""

    code = "not_signed_in"


class PermissionDenied(CallerError):
    """This key may not do that."""

    code = "permission_denied"


class OwnershipDenied(PermissionDenied):
    """Only an owner of the project may do that."""

    code = "ownership_denied"


class NotFound(CallerError):
    """There is no such thing."""

    code = "not_found"


class Conflict(CallerError):
    """The thing is not in a state that allows it."""

    code = "conflict"


class StoppedMeanwhile(Conflict):
    """The start is void, because somebody has stopped the project meanwhile."""

    code = "stopped_meanwhile"


class QueryRefused(CallerError):
    """The query breaks a rule of its table."""

    code = "query_refused"


class LimitError(HubError):
    """A limit is reached: wait, or ask for more."""

    code = "limit"


class RateLimited(LimitError):
    """That was asked for too often: wait a while.

    Attributes:
        retry_after_s: Whole seconds to wait, from 1.
    """

    code = "rate_limited"

    def __init__(self, message: str | None = None, *, retry_after_s: float = 1, **details: object) -> None:
        """Make an error; ``retry_after_s`` is rounded up."""
        self.retry_after_s = max(1, ceil(retry_after_s))
        super().__init__(message, **details)


class ProjectError(HubError):
    """The project's side failed."""

    code = "project_error"


class StartFailed(ProjectError):
    """The project could not be started."""

    code = "start_failed"


class EndFailed(ProjectError):
    """The project could not be ended."""

    code = "end_failed"


class ServerLost(ProjectError):
    """The project server does not answer."""

    code = "server_lost"


class KernelDied(ProjectError):
    """The kernel has ended."""

    code = "kernel_died"


class ExecFailed(ProjectError):
    """The command failed."""

    code = "exec_failed"


class CallTimeout(HubError):
    """The wait has ended; the operation goes on."""

    code = "timeout"


class InternalError(HubError):
    """The hub made a mistake."""

    code = "internal"


class StoreUnavailable(InternalError):
    """The hub's store cannot be read or changed now."""

    code = "store_unavailable"


class ClientError(HubError):
    """The client could not complete the call."""

    code = "client_error"


class TransportError(ClientError):
    """The hub did not answer."""

    code = "transport"


class ProtocolError(ClientError):
    """The answer is not of the wire contract."""

    code = "protocol"


class RemoteError(ClientError):
    """The hub refused, for a reason this client cannot name."""

    code = "remote"
