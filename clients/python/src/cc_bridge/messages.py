"""The messages of a bridge, as this client reads them (docs/protocol.md, "Notifications")."""

from __future__ import annotations

import json
from dataclasses import dataclass

from cc_bridge import fields
from cc_bridge.errors import ProtocolError, RpcError, rpc_error


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to a request."""

    request_id: object
    """The id of the request; None if the bridge could not read it."""
    outcome: fields.Json | RpcError


@dataclass(frozen=True, slots=True)
class Notification:
    """A message that answers no request."""

    method: str
    execution_id: str | None
    """The execution that the message is about; None if it concerns none."""
    params: fields.Json
    size: int
    """The size of the message in characters, which counts against the limit of waiting events."""


def parse(text: str) -> Reply | Notification | None:
    """Return the message that a JSON text describes. None if this client does not know its form.

    Raises :class:`ProtocolError` if the text is not JSON, or a reply is malformed.
    """
    try:
        message = json.loads(text)
    except ValueError as error:
        raise ProtocolError(f"a message is not JSON: {error}") from None
    if not isinstance(message, dict):
        return None  # This client sends no batch.
    if "method" not in message:
        return Reply(message.get("id"), outcome(message))
    method, params = message["method"], message.get("params")
    if not isinstance(method, str) or not isinstance(params, dict):
        return None
    return Notification(method, fields.optional_text(params, "executionId"), params, len(text))


def outcome(message: fields.Json) -> fields.Json | RpcError:
    """Return the result or the error of a reply."""
    if "error" not in message:
        return fields.obj(message, "result")
    error = fields.obj(message, "error")
    data = error.get("data")
    return rpc_error(
        fields.integer(error, "code"),
        fields.text(error, "message"),
        data if isinstance(data, dict) else None,
    )
