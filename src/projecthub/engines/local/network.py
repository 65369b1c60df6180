"""A network of a project's own: a loopback, no way to anywhere else, and later perhaps one from outside (`uplink`)."""

from __future__ import annotations

import errno
import fcntl
import ipaddress
import os
import socket
import struct
from pathlib import Path

from projecthub.engines.local import kernel
from projecthub.engines.local.records import LIFELINE_FILE
from projecthub.engines.port import Network

_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 0x1
_REQUEST = struct.Struct("16sh22x")

_RTM_NEWROUTE, _NLMSG_ERROR = 24, 2
_NLM_F_REQUEST, _NLM_F_ACK, _NLM_F_EXCL, _NLM_F_CREATE = 0x1, 0x4, 0x200, 0x400
_RTA_DST = 1
_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNREACHABLE = 254, 4, 0, 7
_MESSAGE = struct.Struct("=IHHII")
_ROUTE = struct.Struct("=8BI")
_ATTRIBUTE = struct.Struct("=HH")

# Nothing of these may leave by an uplink, which would deliver it on the machine itself. A socket that is bound to the
# uplink's device does send to 127.0.0.1 through it, past the loopback; slirp4netns stops that on the way back only. At
# link-local addresses the providers of machines answer, and some of them hand out the machine's credentials.
_UNREACHABLE = ("127.0.0.0/8", "169.254.0.0/16")

NAME_SERVER = "10.0.2.3"
"""Where an uplink answers questions for names, by asking the machine's own name server."""


def set_up_own() -> None:
    """Make the loopback of a new network namespace work. Needs the rights of `sandbox.prepare`.

    Raises:
        OSError: The kernel refuses.
    """
    _raise_loopback()
    for request in _REFUSALS:
        _ask_kernel(request)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _REQUEST.pack(b"lo", 0))
        _, flags = _REQUEST.unpack(answer)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _REQUEST.pack(b"lo", flags | _IFF_UP))


def _refusal_of_route(addresses: ipaddress.IPv4Network) -> bytes:
    """The request that makes addresses unreachable."""
    destination = addresses.network_address.packed
    body = (
        _ROUTE.pack(
            socket.AF_INET,
            addresses.prefixlen,
            *(0, 0),
            *(_RT_TABLE_MAIN, _RTPROT_STATIC, _RT_SCOPE_UNIVERSE, _RTN_UNREACHABLE),
            0,
        )
        + _ATTRIBUTE.pack(_ATTRIBUTE.size + len(destination), _RTA_DST)
        + destination
    )
    flags = _NLM_F_REQUEST | _NLM_F_ACK | _NLM_F_CREATE | _NLM_F_EXCL
    return _MESSAGE.pack(_MESSAGE.size + len(body), _RTM_NEWROUTE, flags, 1, 0) + body


_REFUSALS = [_refusal_of_route(ipaddress.IPv4Network(addresses)) for addresses in _UNREACHABLE]
"""Made once: what a project's first process works out by itself is memory that it shares with nobody."""


def _ask_kernel(request: bytes) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.send(request)
        answer = netlink.recv(4096)
    _, kind, _, _, _ = _MESSAGE.unpack_from(answer)
    code = -struct.unpack_from("=i", answer, _MESSAGE.size)[0] if kind == _NLMSG_ERROR else errno.EPROTO
    if code:
        raise OSError(code, os.strerror(code))


def try_own() -> tuple[int, int] | None:
    """Fork a process into a network of its own, for `uplink.try_out`; None if that is not to be had.

    Returns:
        Its process id, and a file descriptor: when that is closed it ends, unless it was killed before.
    """
    told, tell = os.pipe()
    waiting, life = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(life)
            os.close(told)
            kernel.unshare(kernel.CLONE_NEWNET)
            set_up_own()
            kernel.set_dumpable(True)
            os.write(tell, b"!")
            os.read(waiting, 1)
        finally:
            os._exit(0)
    os.close(tell)
    os.close(waiting)
    with os.fdopen(told, "rb") as answers:
        if answers.read(1):
            return child, life
    os.close(life)
    os.waitpid(child, 0)
    return None


def make_lifeline(directory: Path) -> int:
    """Make the lifeline of a project's uplink, for its init to hold.

    Args:
        directory: The project's runtime directory.

    Returns:
        A file descriptor. When all copies of it are closed the uplink ends.
    """
    path = directory / LIFELINE_FILE
    os.mkfifo(path, 0o600)
    # For both directions, so that it need not wait for the reader.
    return os.open(path, os.O_RDWR | os.O_CLOEXEC)


def resolver_configuration(network: Network) -> str:
    """What a project's ``/etc/resolv.conf`` is to say."""
    if network is Network.NONE:
        return ""
    if network is Network.INTERNET:
        return f"nameserver {NAME_SERVER}\n"
    try:
        return Path("/etc/resolv.conf").read_text()
    except OSError:
        return ""
