"""Who gets in: a key is checked, wrong ones are slowed, and limits on how often a key is used are kept.

A key has 256 random bits: nobody finds one by trying, and all that a bound on wrong keys saves is work. So it is cheap,
it is by address, and it does not shut out people who share their address with somebody who tries: a key that was right
since the hub has started is looked at first.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from projecthub.errors import RateLimited
from projecthub.hub.keys import digest
from projecthub.hub.rates import Rate, TokenBuckets

if TYPE_CHECKING:
    from projecthub.hub.clock import Clock
    from projecthub.hub.keys import Keys
    from projecthub.hub.principals import Principal

WRONG_KEYS: Final = Rate(burst=100, every_s=0.5)
"""Wrong keys from one address."""

_MAX_RIGHT: Final = 10_000


class Admission:
    """Checks the keys of requests."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        """Make the service."""
        self._keys = keys
        self._calls = TokenBuckets(clock)
        self._wrong = TokenBuckets(clock)
        self._right: OrderedDict[str, None] = OrderedDict()

    async def admit(self, secret: str, address: str | None) -> Principal | None:
        """Who calls; None if the key is not valid.

        Args:
            secret: The key.
            address: Where the request comes from; None or one of this machine: nowhere in particular.

        Raises:
            RateLimited: The key may be used again only later, or too many wrong ones came from this address.
        """
        hashed = digest(secret)
        network = network_of(address)
        if network is not None and hashed not in self._right and (wait_s := self._wrong.wait_s(network, WRONG_KEYS)):
            raise RateLimited(
                "too many wrong API keys came from your address; wait a while, and check the key",
                retry_after_s=wait_s,
            )
        caller = await self._keys.check(secret)
        if caller is None:
            self._right.pop(hashed, None)
            if network is not None:
                self._wrong.take(network, WRONG_KEYS)
            return None
        if hashed not in self._right:
            self._right[hashed] = None
            if len(self._right) > _MAX_RIGHT:
                self._right.popitem(last=False)
        self._count(caller)
        return caller

    def _count(self, caller: Principal) -> None:
        times = caller.calls_per_minute
        if times is None:
            return
        if wait_s := self._calls.take(caller.key_id, Rate.per_minute(times)):
            raise RateLimited(
                f"this API key may be used {times} times a minute; wait, or use one without such a limit",
                retry_after_s=wait_s,
                caller=caller,
            )


def network_of(address: str | None) -> str | None:
    """What is counted as one address: of IPv6 the first 64 bits, which one household has.

    None if nothing can be told by it: of this machine come all requests that a proxy does not tell the origin of.
    """
    try:
        ip = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is None:
            return None if ip.is_loopback else str(ipaddress.IPv6Network((ip, 64), strict=False))
        ip = ip.ipv4_mapped
    return None if ip.is_loopback else str(ip)
