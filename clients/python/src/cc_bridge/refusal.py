"""The errors of a connection that a server refuses or ends. The module does no I/O."""

from __future__ import annotations

import json
import ssl
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cc_bridge.errors import (
    BridgeError,
    BusyError,
    ConnectError,
    ForbiddenError,
    ProtocolError,
    RefusedError,
    TlsError,
    UnauthorizedError,
    UnreachableError,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cc_bridge.token import Token

MAX_PAUSE_SECONDS = 24 * 3600
"""The longest pause that a server can ask for: one day."""
POLICY_CLOSE, TOO_BIG_CLOSE = 1008, 1009


class LostError(Exception):
    """The end of a connection.

    ``final`` is the error that every later connection would have too, or None: reconnect.
    ``too_big`` says that a request was larger than the bridge accepts.
    """

    def __init__(
        self,
        reason: str,
        *,
        final: BridgeError | None = None,
        too_big: bool = False,
        pause: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final
        self.too_big = too_big
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Peer:
    """The server that a client connects to, as its errors name it."""

    url: str
    token: Token | None

    def unreachable(self, reason: str) -> UnreachableError:
        """Return the error for a server that does not answer as a bridge."""
        return UnreachableError(self._clean(f"no bridge answers at {self.url}: {reason}"))

    def tls_failed(self, error: ssl.SSLError) -> ConnectError:
        """Return the error for a failed TLS handshake."""
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
            return self.unreachable(f"the connection ended in the TLS handshake ({error.reason})")
        if isinstance(error, ssl.SSLCertVerificationError):
            why = f"its certificate is not accepted: {error.verify_message}"
            advice = "give the authority's certificate as a PEM file with ca="
        else:
            why = f"the TLS handshake failed: {error.reason or error}"
            advice = "a port without TLS needs ws:// in place of wss://"
        return TlsError(f"no TLS connection to {self.url}: {why}; {advice}")

    def refused(self, status: int, headers: Mapping[str, str], body: bytes) -> ConnectError:
        """Return the error for a handshake that the server refused with an HTTP status."""
        problem: Any = None
        with suppress(ValueError):
            problem = json.loads(self._clean(body.decode(errors="replace")))
        problem = problem if isinstance(problem, dict) else {}
        kind, detail = problem.get("type"), problem.get("detail")
        reason = f"{detail} (HTTP {status})" if isinstance(detail, str) else f"HTTP {status}"
        pause = retry_after(headers.get("Retry-After"))
        error: ConnectError
        match status:
            case 401:
                error = self.unauthorized(reason)
            case 403 if kind not in ("foreign-host", "foreign-origin"):
                error = ForbiddenError(self._clean(f"{self.url} forbids access: {reason}"))
            case 429:
                error = BusyError(self._clean(f"{self.url} is busy: {reason}"))
            case 503 if pause is not None:
                error = BusyError(self._clean(f"{self.url} is busy: {reason}"))
            case _ if status >= 500:
                error = self.unreachable(reason)
            case _:
                hint = "" if isinstance(detail, str) else ": is this the address of a bridge?"
                text = f"{self.url} refuses the connection: {reason}{hint}"
                error = RefusedError(self._clean(text))
        error.retry_after = pause
        error.data = problem
        return error

    def unauthorized(self, reason: str) -> UnauthorizedError:
        """Return the error for a token that is missing or not accepted."""
        if self.token is None:
            advice = "connect with a token, which the bridge's operator makes"
        else:
            advice = "ask the bridge's operator for a new token"
        return UnauthorizedError(self._clean(f"{self.url} refuses access: {reason}; {advice}"))

    def lost(self, code: int | None, reason: str) -> LostError:
        """Return the reaction to the end of a connection (docs/protocol.md, "Close codes").

        ``code`` is None if the connection ended without a close frame.
        """
        if code is None:
            return LostError(reason or "the connection broke")
        text = f"the bridge closed the connection ({code}{': ' if reason else ''}{reason})"
        text = self._clean(text)
        if code == POLICY_CLOSE:
            is_about_token = not reason or "token" in reason.lower() or "authori" in reason.lower()
            final = self.unauthorized(text) if is_about_token else ProtocolError(text)
            return LostError(text, final=final)
        return LostError(text, too_big=code == TOO_BIG_CLOSE)

    def _clean(self, text: str) -> str:
        """Remove the token, in case that a server repeats it."""
        return text if self.token is None else self.token.redact(text)


def retry_after(value: str | None) -> float | None:
    """Return the pause of a header ``Retry-After`` in seconds, at most a day.

    None if there is none, or if it is no number of seconds.
    """
    text = (value or "").strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return float(min(int(text[:12]), MAX_PAUSE_SECONDS))
