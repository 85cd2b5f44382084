"""The exceptions of this package.

All of them are a :class:`BridgeError`, which has ``message``, ``code``, ``reason`` and ``data``.
A :class:`RpcError` is a JSON-RPC error of the bridge; it has one subclass for each code
(docs/protocol.md, "Error codes"). The other exceptions come from the client itself.

No exception holds the client's token.
"""

from __future__ import annotations

from typing import Any, ClassVar


class BridgeError(Exception):
    """The base class of every exception of this package."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        """The text for people. It says what to do where that is known."""
        self.code: int | None = None
        """The JSON-RPC code, or None if the error is not an answer of the bridge."""
        self.data: dict[str, Any] = {}
        """The details for programs; empty if there are none."""
        self.retry_after: float | None = None
        """The pause that the server asked for before another attempt, in seconds."""

    @property
    def reason(self) -> str:
        """The stable word of a JSON-RPC error (docs/protocol.md, "Error reasons"), or ''."""
        reason = self.data.get("reason")
        return reason if isinstance(reason, str) else ""

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return False


class RpcError(BridgeError):
    """A JSON-RPC error with which the bridge refused a request."""

    is_transient_code: ClassVar[bool] = False

    def __init__(self, code: int, message: str, data: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data or {}
        pause = self.data.get("retryAfterSeconds")
        self.retry_after = float(pause) if isinstance(pause, int | float) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.code, self.message, self.data)

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.is_transient_code and self.reason not in FINAL_REASONS


FINAL_REASONS = frozenset({"cancelled", "box_reaches_service", "too_many_attempts"})
"""The reasons after which a client does not repeat a request, although the code is transient."""


class ParseError(RpcError):
    """-32700: the bridge received no JSON."""


class InvalidRequestError(RpcError):
    """-32600: the bridge received no JSON-RPC 2.0 request."""


class MethodNotFoundError(RpcError):
    """-32601: the bridge does not know the method."""


class InvalidParamsError(RpcError):
    """-32602: a parameter is missing, unknown, too large or of a wrong type."""


class InternalError(RpcError):
    """-32603: a service failed. Its log says more."""


class TooManySessionsError(RpcError):
    """-32001: too many sessions are open."""

    is_transient_code = True


class NotAllowedError(RpcError):
    """-32002: the operator or the role of the token does not allow the request."""


class NotFoundError(RpcError):
    """-32003: there is no such execution or conversation."""


class FullError(RpcError):
    """-32004: the queue or another limit is full. A later repetition may succeed."""

    is_transient_code = True


class UnavailableError(RpcError):
    """-32005: claude-api is unavailable. A repetition may succeed, unless the reason says no."""

    is_transient_code = True


class NotAuthorisedError(RpcError):
    """-32006: the token was removed or has expired."""


class OffsetNotKeptError(RpcError):
    """-32007: the output before ``data["keptFrom"]`` is no longer kept."""


class WrongStateError(RpcError):
    """-32008: the state of the execution does not allow the request."""


class IdInUseError(RpcError):
    """-32009: the id exists with another body, was deleted, or was cancelled before acceptance."""


RPC_ERRORS: dict[int, type[RpcError]] = {
    -32700: ParseError,
    -32600: InvalidRequestError,
    -32601: MethodNotFoundError,
    -32602: InvalidParamsError,
    -32603: InternalError,
    -32001: TooManySessionsError,
    -32002: NotAllowedError,
    -32003: NotFoundError,
    -32004: FullError,
    -32005: UnavailableError,
    -32006: NotAuthorisedError,
    -32007: OffsetNotKeptError,
    -32008: WrongStateError,
    -32009: IdInUseError,
}
"""The class of each JSON-RPC code. An unknown code is a plain :class:`RpcError`."""


def rpc_error(code: int, message: str, data: dict[str, Any] | None = None) -> RpcError:
    """Return the exception of the class that belongs to the code."""
    return RPC_ERRORS.get(code, RpcError)(code, message, data)


class SettingsError(BridgeError):
    """A setting cannot be used: the address, the token, or the file of certificates."""


class ConnectError(BridgeError):
    """No connection to the bridge was possible. A retry does not help, unless it is transient."""


class UnreachableError(ConnectError):
    """No bridge answers at the address. A retry may succeed."""

    @property
    def is_transient(self) -> bool:
        """Always true."""
        return True


class BusyError(ConnectError):
    """The bridge has no room for this client now. A retry after the pause may succeed."""

    @property
    def is_transient(self) -> bool:
        """Always true."""
        return True


class RefusedError(ConnectError):
    """The server refuses the connection, for example because of the host name in the address."""


class UnauthorizedError(ConnectError):
    """The token is missing, wrong, removed or expired. The client makes no further attempt."""


class ForbiddenError(ConnectError):
    """The role of the token does not permit a session. The client makes no further attempt."""


class TlsError(ConnectError):
    """No TLS connection is possible, for example because the certificate is not trusted."""


class GaveUpError(BridgeError):
    """The connection was lost, and no reconnect succeeded in time. The executions continue."""


class NoAnswerError(BridgeError):
    """The bridge did not answer a request in time. The request may still take effect."""


class ProtocolError(BridgeError):
    """The bridge sent a message that docs/protocol.md does not allow."""


class TooLargeError(BridgeError):
    """A request is larger than the bridge accepts. It was not sent."""


class ClosedError(BridgeError):
    """The client was closed, or a newer run of this client views the same execution."""


class CancelledUnansweredError(BridgeError):
    """A cancel was sent for an execute that had no answer yet when the connection was lost.

    The client does not repeat the execute, because the prompt would run although it was cancelled.
    """


class OutputError(BridgeError):
    """Bytes of the output were lost or changed on their way."""


class GapError(BridgeError):
    """A part of the output is not sent: it is no longer kept, or it was skipped.

    ``data`` has the offsets ``from`` and ``to``. The run continues after the gap.
    """

    def __init__(self, start: int, end: int) -> None:
        super().__init__(
            f"the output has a gap from byte {start} to {end}; read on to continue after it"
        )
        self.data = {"from": start, "to": end}

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.data["from"], self.data["to"])


class QuestionCallbackError(BridgeError):
    """The callback for questions raised an exception, or its answer was not accepted.

    The exception of the callback, or the error of the bridge, is the cause of this one.
    The question stays open, and other clients can answer it.
    """
