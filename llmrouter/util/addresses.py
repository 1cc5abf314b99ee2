"""Which network addresses a model may be reached at: not those that hand out a machine's secrets.

Cloud machines ask link-local and a few fixed addresses for their own credentials. A request that an
edit of the catalog sends there would bring them out. An address has many spellings: decimal, hex
and octal IPv4, IPv4 inside IPv6, full-width digits, and names that resolve to it.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
import unicodedata
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

METADATA_NAMES: Final = frozenset(
    {
        "metadata",
        "metadata.google.internal",
        "metadata.goog",
        "metadata.tencentyun.com",
        "metadata.packet.net",
        "metadata.platformequinix.com",
        "instance-data",
        "instance-data.ec2.internal",
    }
)
REFUSED_NETWORKS: Final[tuple[Network, ...]] = tuple(
    map(
        ipaddress.ip_network,
        (
            "169.254.0.0/16",  # link-local: AWS, Google, Azure, Oracle, DigitalOcean, ECS tasks
            "fe80::/10",  # link-local
            "fd00:ec2::/32",  # AWS
            "fd20:ce::254/128",  # Google
            "100.100.100.200/32",  # Alibaba
            "192.0.0.192/32",  # Oracle Classic
            "168.63.129.16/32",  # Azure's host agent
        ),
    )
)
_EMBEDDING: Final = tuple(  # the last 32 bits are an IPv4 address
    map(ipaddress.IPv6Network, ("::/96", "64:ff9b::/96", "64:ff9b:1::/48"))
)
_ISATAP: Final = (0x00005EFE, 0x02005EFE)
_DOTS: Final = str.maketrans("\u3002\uff0e\uff61", "...")
LOOKUP_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class AddressPolicy:
    """Refuses link-local and metadata addresses, but for those that are allowed.

    `names` are host names as `plain_host` gives them (`*.corp.example` for a domain), `networks`
    address ranges.
    """

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    def lists(self, host: str) -> bool:
        """Whether a host's name is allowed, whatever its address is."""
        name = plain_host(host)
        return name in self.names or any(
            f"*{name[at:]}" in self.names for at, one in enumerate(name) if one == "."
        )

    def permits(self, address: str) -> bool:
        """Whether a connection may go to an IP address. True for what is none."""
        found = address_of(address)
        return found is None or not self._refused(found)

    def problem(self, host: str, *, lookup_s: float = LOOKUP_S) -> str | None:
        """Why a host of a URL is refused, or None. Names are looked up for up to `lookup_s`."""
        if self.lists(host):
            return None
        name = plain_host(host)
        found = address_of(name)
        if found is not None:
            return "is a link-local or metadata address" if self._refused(found) else None
        if name in METADATA_NAMES:
            return "is the name of a cloud's metadata service"
        if lookup_s and any(not self.permits(one) for one in looked_up(name, lookup_s)):
            return "resolves to a link-local or metadata address"
        return None

    def _refused(self, address: Address) -> bool:
        every = (address, *_inside(address))
        if any(one in network for one in every for network in self.networks):
            return False
        return any(one in network for one in every for network in REFUSED_NETWORKS)


NO_METADATA: Final = AddressPolicy()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def on_loopback(url: str) -> bool:
    """Whether only this machine can reach the host of `url`."""
    return is_loopback(urlsplit(url).hostname or "")


def address_policy(allowed: Iterable[str]) -> AddressPolicy:
    """The policy that allows names, `*.domains`, addresses and networks (`169.254.7.0/24`)."""
    names, networks = set(), []
    for one in allowed:
        try:
            networks.append(ipaddress.ip_network(one.strip("[]"), strict=False))
        except ValueError:
            names.add(plain_host(one))
    return AddressPolicy(frozenset(names), tuple(networks))


def plain_host(host: str) -> str:
    """A host in lower case and plain characters, without brackets, zone and last dot."""
    folded = unicodedata.normalize("NFKC", host.translate(_DOTS)).translate(_DOTS)
    return folded.strip().lower().strip("[]").partition("%")[0].rstrip(".")


def address_of(host: str) -> Address | None:
    """The IP address that a host spells, in any way that connecting to it understands, or None."""
    name = plain_host(host)
    try:
        return ipaddress.ip_address(name)
    except ValueError:
        pass
    with suppress(OSError, UnicodeError, ValueError):
        if name and name[0].isdigit() and " " not in name:
            return ipaddress.IPv4Address(socket.inet_aton(name))  # 0xA9FEA9FE, 2852039166, 169.254
    return None


def looked_up(name: str, wait_s: float) -> list[str]:
    """The addresses of a name, none where that takes longer. Blocks: call it in a thread."""
    found: list[str] = []

    def look() -> None:
        with suppress(OSError, UnicodeError):
            for *_, address in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
                found.append(str(address[0]))

    thread = threading.Thread(target=look, name="lookup", daemon=True)
    thread.start()
    thread.join(wait_s)
    return list(found)


def _inside(address: Address) -> list[Address]:
    """The IPv4 addresses inside an IPv6 one: mapped, translated and tunnelled."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one]
    found += address.teredo or ()
    low = int(address) & 0xFFFFFFFF
    if any(address in network for network in _EMBEDDING) or (
        int(address) >> 32 & 0xFFFFFFFF in _ISATAP
    ):
        found.append(ipaddress.IPv4Address(low))
    return found
