"""A WebSocket connection that the bridge has greeted."""

from __future__ import annotations

import asyncio
import json
import logging
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus

from cc_bridge import fields
from cc_bridge.errors import BridgeError, ProtocolError, RpcError
from cc_bridge.messages import outcome
from cc_bridge.refusal import LostError, Peer
from cc_bridge.results import Greeting, greeting_from

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

    from cc_bridge.address import Address
    from cc_bridge.options import Options
    from cc_bridge.token import Token

PROTOCOL_VERSION = 1
MAX_MESSAGE_BYTES = 1024 * 1024
"""The longest message that the client reads. A bridge sends at most 524,288 bytes."""
DEFAULT_MESSAGE_BYTES = 13 * 1024 * 1024
"""The default of the limit ``messageBytes``, for a bridge that does not know it yet."""
SEND_SECONDS = 60.0
"""The longest write of one message. The largest one has 13 MiB, and a line may be slow."""
CLOSE_SECONDS = 1.0
"""The longest wait for the close frame of the bridge."""


class QuietLogger(logging.LoggerAdapter[logging.Logger]):
    """A logger without the level debug, at which the library logs the header with the token."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name of the base class
        """Return whether a record of this level is logged: never at debug."""
        return level > logging.DEBUG and super().isEnabledFor(level)


LOGGER = QuietLogger(logging.getLogger("cc_bridge.websocket"), {})


class Handshake(connect):
    """An attempt to connect that follows no redirect, because it would send the token there."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Return the answer itself, so that it is reported."""
        return exc


@dataclass(frozen=True, slots=True)
class Target:
    """The bridge to connect to, and how."""

    address: Address
    token: Token | None
    tls: ssl.SSLContext | None
    options: Options

    @property
    def peer(self) -> Peer:
        """The bridge as errors name it."""
        return Peer(str(self.address), self.token)


class Connection:
    """A connection that is ready for requests, because its greeting was read."""

    def __init__(self, websocket: ClientConnection, peer: Peer, greeting: Greeting) -> None:
        self.greeting = greeting
        self._websocket = websocket
        self._peer = peer

    @property
    def message_bytes(self) -> int:
        """The maximum size of a request in bytes."""
        return self.greeting.limit("messageBytes", DEFAULT_MESSAGE_BYTES)

    async def receive(self) -> str:
        """Return the next text message. Raises :class:`LostError` at the end."""
        return await receive(self._websocket, self._peer)

    async def send(self, text: str) -> bool:
        """Send a text message. Return False if the connection has ended: see :meth:`receive`."""
        try:
            async with asyncio.timeout(SEND_SECONDS):
                await self._websocket.send(text)
        except ConnectionClosed:
            return False
        except TimeoutError:
            raise LostError(f"a request was not sent within {SEND_SECONDS:.0f} s") from None
        return True

    async def is_alive(self, seconds: float) -> bool:
        """Send a ping. Return whether its pong arrived in time, or the connection has ended."""
        try:
            async with asyncio.timeout(seconds):
                pong = await self._websocket.ping()
                await asyncio.shield(pong)
        except ConnectionClosed:
            return True  # `receive` reports the end with its reason.
        except TimeoutError:
            return False
        return True

    async def close(self, code: int = 1000) -> None:
        """Send a close frame, and wait a moment for the answer of the bridge."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._websocket.close(code)
        except TimeoutError:
            self.abort()

    def abort(self) -> None:
        """End the connection at once."""
        self._websocket.transport.abort()


async def open_connection(target: Target) -> Connection:
    """Connect, and read the greeting. Raises :class:`BridgeError` if that is not possible."""
    seconds = target.options.connect_timeout
    result: Connection | BridgeError
    try:
        async with asyncio.timeout(seconds):
            result = await handshake(target)
    except TimeoutError:
        result = target.peer.unreachable(f"no greeting within {seconds:g} s")
    # Raised here, and not where it was caught: the traceback of the library's exception would hold
    # the headers, and so the token.
    if isinstance(result, BridgeError):
        raise result
    return result


async def handshake(target: Target) -> Connection | BridgeError:
    """Open a WebSocket and read the greeting. Return an error instead of raising it."""
    headers = {}
    if target.token is not None:
        headers["Authorization"] = f"Bearer {target.token.expose()}"
    options: dict[str, Any] = {} if target.tls is None else {"ssl": target.tls}
    try:
        websocket = await Handshake(
            str(target.address),
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=None,  # `open_connection` has the time limit.
            ping_interval=None,  # `Connection.is_alive` pings.
            close_timeout=CLOSE_SECONDS,
            max_size=MAX_MESSAGE_BYTES,
            logger=LOGGER,
            **options,
        )
    except InvalidStatus as error:
        response = error.response
        return target.peer.refused(
            response.status_code, response.headers, bytes(response.body or b"")
        )
    except ssl.SSLError as error:
        return target.peer.tls_failed(error)
    except OSError as error:
        return target.peer.unreachable(str(error) or type(error).__name__)
    except (InvalidHandshake, EOFError, ConnectionClosed) as error:
        return target.peer.unreachable(f"{error}; a port for TLS needs wss://")
    try:
        return await greet(websocket, target.peer)
    except BridgeError as error:
        websocket.transport.abort()
        return error
    except asyncio.CancelledError:
        websocket.transport.abort()
        raise


async def receive(websocket: ClientConnection, peer: Peer) -> str:
    """Return the next text message. Raises :class:`LostError` at the end."""
    while True:
        try:
            message = await websocket.recv()
        except ConnectionClosed as error:
            close = error.rcvd
            lost = peer.lost(close.code, close.reason) if close else peer.lost(None, "")
            raise lost from None
        if isinstance(message, str):
            return message


async def greet(websocket: ClientConnection, peer: Peer) -> Connection:
    """Read the greeting. Raises :class:`BridgeError` if the first message is another one."""
    try:
        text = await receive(websocket, peer)
    except LostError as lost:
        raise (lost.final or peer.unreachable(lost.reason)) from None
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if isinstance(message, dict) and "error" in message:
        refused = outcome(message)
        if isinstance(refused, RpcError):
            raise refused
    if not isinstance(message, dict) or message.get("method") != "connected":
        raise ProtocolError("the first message of the bridge is not `connected`")
    greeting = greeting_from(fields.obj(message, "params"))
    if greeting.protocol != PROTOCOL_VERSION:
        raise ProtocolError(
            f"the bridge speaks version {greeting.protocol} of the protocol, and this client"
            f" version {PROTOCOL_VERSION}; use the client of the bridge's version"
        )
    return Connection(websocket, peer, greeting)
