"""Calls to the HTTP API of claude-api, which a bridge does not forward."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cc_bridge.errors import BridgeError, ConnectError, NotFoundError, ProtocolError, SettingsError
from cc_bridge.refusal import Peer

if TYPE_CHECKING:
    import ssl

    from cc_bridge import fields
    from cc_bridge.token import Token

NOT_FOUND_CODE = -32003
"""The code over WebSocket for an execution or a question that does not exist."""
MAX_ANSWER_BYTES = 4 * 1024 * 1024
"""The most bytes of an answer that are read. A question has at most 1 MiB of input."""


def get(
    url: str, path: str, token: Token | None, tls: ssl.SSLContext | None, timeout: float
) -> fields.Json:
    """Return the JSON object at a path of the claude-api at this address. Blocks; uses no proxy.

    Raises :class:`ConnectError` if the server refuses or does not answer, and
    :class:`NotFoundError` if it does not know the execution or the question.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise SettingsError("give the address of claude-api as http://HOST:PORT or https://HOST")
    peer = Peer(f"{parts.scheme}://{parts.netloc}", token)
    headers = {"Accept": "application/json"}
    if token is not None:
        headers["Authorization"] = f"Bearer {token.expose()}"
    connection = (
        http.client.HTTPSConnection(parts.hostname, parts.port, timeout=timeout, context=tls)
        if parts.scheme == "https"
        else http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    )
    result: tuple[int, http.client.HTTPMessage, bytes] | ConnectError
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        result = response.status, response.headers, response.read(MAX_ANSWER_BYTES)
    except (OSError, http.client.HTTPException) as error:
        result = peer.unreachable(str(error) or type(error).__name__)
    finally:
        connection.close()
    # Raised here: a traceback of the library would hold the headers, and so the token.
    if isinstance(result, ConnectError):
        raise result
    status, answer_headers, body = result
    if status != http.client.OK:
        raise refused(peer, status, dict(answer_headers.items()), body)
    try:
        raw = json.loads(body)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise ProtocolError(f"the answer of {peer.url} is not an object")
    return raw


def refused(peer: Peer, status: int, headers: dict[str, str], body: bytes) -> BridgeError:
    """Return the error for an answer with another status than 200."""
    error = peer.refused(status, headers, body)
    if status == http.client.NOT_FOUND and error.data.get("type") == "not-found":
        detail = str(error.data.get("detail"))
        return NotFoundError(NOT_FOUND_CODE, detail, {"reason": "not_found"})
    return error
