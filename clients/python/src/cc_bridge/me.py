"""The call ``GET /v1/me`` of claude-api, which a bridge does not forward."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cc_bridge.errors import ConnectError, ProtocolError, SettingsError
from cc_bridge.refusal import Peer
from cc_bridge.results import Me, me_from

if TYPE_CHECKING:
    import ssl

    from cc_bridge.token import Token

MAX_ANSWER_BYTES = 64 * 1024


def read_me(url: str, token: Token | None, tls: ssl.SSLContext | None, timeout: float) -> Me:
    """Return the client as the claude-api at this address sees it. Blocks; uses no proxy.

    Raises :class:`ConnectError` if the server refuses or does not answer.
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
        connection.request("GET", "/v1/me", headers=headers)
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
        raise peer.refused(status, dict(answer_headers.items()), body)
    try:
        raw = json.loads(body)
    except ValueError:
        raw = None
    if not isinstance(raw, dict):
        raise ProtocolError(f"the answer of {peer.url} is not an object")
    return me_from(raw)
