"""The WebSocket address of a bridge, which is checked before the client connects."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from cc_bridge.errors import SettingsError

DEFAULT_URL = "ws://127.0.0.1:8003/ws"
"""The address at which a bridge listens by default, on this machine."""

SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}


@dataclass(frozen=True, slots=True)
class Address:
    """A ``ws://`` or ``wss://`` address without mistakes. ``str()`` returns its text."""

    text: str
    host: str
    is_tls: bool

    def __str__(self) -> str:
        return self.text

    @property
    def is_loopback(self) -> bool:
        """Whether the host is this machine."""
        try:
            ip = ip_address(self.host)
        except ValueError:
            return self.host.lower() == "localhost"
        mapped = getattr(ip, "ipv4_mapped", None)
        return (mapped or ip).is_loopback


def parse_address(text: str) -> Address:
    """Return the address that a text describes.

    ``http://`` and ``https://`` are other spellings of ``ws://`` and ``wss://``. An address without
    a path means the path ``/ws``. Raises :class:`SettingsError` if the text is no such address.
    """
    text = text.strip()
    authority = text.partition("://")[2] or text
    if "@" in authority.split("/", 1)[0].split("?", 1)[0].split("#", 1)[0]:
        # The address is not repeated, because it may have a password.
        raise SettingsError("the address has a user name; remove it, and give the token separately")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise SettingsError(
            f"{text!r} is not an address ({error}); give one like {DEFAULT_URL}"
        ) from None
    scheme = SCHEMES.get(parts.scheme)
    if scheme is None:
        raise SettingsError(
            f"{text!r} does not begin with ws:// or wss://; give an address like {DEFAULT_URL}"
        )
    if not host:
        raise SettingsError(f"{text!r} has no host name; give an address like {DEFAULT_URL}")
    path = "/ws" if parts.path in ("", "/") else parts.path
    query = f"?{parts.query}" if parts.query else ""
    return Address(f"{scheme}://{parts.netloc}{path}{query}", host, scheme == "wss")
