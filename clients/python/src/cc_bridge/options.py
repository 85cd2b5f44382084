"""The settings of a client."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cc_bridge.errors import SettingsError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The timeouts, reconnect delays and ping interval of a client, in seconds."""

    connect_timeout: float = 10.0
    """The longest attempt to connect, until the greeting of the bridge was read."""
    first_delay: float = 0.2
    """The delay before the first attempt to reconnect. Each further one is twice as long."""
    max_delay: float = 5.0
    """The longest delay between two attempts."""
    give_up: float = 120.0
    """How long the client tries to reconnect. Then its runs and requests fail."""
    ping: float = 15.0
    """The interval of pings. A ping that has no answer for as long means a lost connection."""
    answer_timeout: float = 120.0
    """The longest wait for the answer to a request, with reconnects. Not for execute and attach."""


def tls_context(ca: str | Path | None) -> ssl.SSLContext:
    """Return the settings of TLS: the certificates of this machine, and those of a PEM file.

    Raises :class:`SettingsError` if the file cannot be used.
    """
    context = ssl.create_default_context()
    if ca is not None:
        try:
            context.load_verify_locations(cafile=ca)
        except (OSError, ssl.SSLError) as error:
            raise SettingsError(
                f"could not use the file of certificates {ca}: {error.strerror or error}; give a"
                " PEM file"
            ) from None
    return context
