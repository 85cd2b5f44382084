"""The requests of one client that have no answer yet. The module does no I/O."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cc_bridge import fields
from cc_bridge.errors import BridgeError

if TYPE_CHECKING:
    from cc_bridge.view import View

Answered = Callable[[fields.Json | BridgeError], None]
"""The function that gets the result or the error of a request."""


@dataclass(slots=True)
class Unanswered:
    """A request without an answer. A reconnect repeats it unchanged."""

    text: str
    """The whole JSON-RPC message."""
    size: int
    """The size of the message in bytes."""
    receiver: View | Answered | None
    """The view that the request opens, the caller, or None if nobody waits for the answer."""


class Requests:
    """The unanswered requests by their JSON-RPC ids, in the order in which they were made."""

    def __init__(self) -> None:
        self.on_request: Callable[[], None] = lambda: None
        """Called when a request waits to be sent."""
        self._unanswered: dict[int, Unanswered] = {}
        self._outbound: deque[int] = deque()
        self._last_id = 0

    def __iter__(self) -> Iterator[tuple[int, Unanswered]]:
        return iter(list(self._unanswered.items()))

    def __len__(self) -> int:
        """Return the count of requests whose answer somebody waits for."""
        return sum(request.receiver is not None for request in self._unanswered.values())

    def add(self, method: str, params: Mapping[str, Any], receiver: View | Answered | None) -> int:
        """Queue a request. Return its id.

        Raises :class:`ValueError` if a text has a lone surrogate or a number is not finite: JSON
        cannot carry them.
        """
        call = {"jsonrpc": "2.0", "id": self._last_id + 1, "method": method, "params": params}
        text = json.dumps(call, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        request = Unanswered(text, len(text.encode()), receiver)
        self._last_id += 1
        self._unanswered[self._last_id] = request
        self._outbound.append(self._last_id)
        self.on_request()
        return self._last_id

    def remove(self, request_id: object) -> Unanswered | None:
        """Remove and return a request, which is not sent any more. None if it is unknown."""
        return self._unanswered.pop(request_id, None) if isinstance(request_id, int) else None

    def next(self) -> tuple[int, Unanswered] | None:
        """Return the next request to send, or None. Forget it if nobody waits for its answer."""
        while self._outbound:
            request_id = self._outbound.popleft()
            request = self._unanswered.get(request_id)
            if request is not None:
                if request.receiver is None:
                    del self._unanswered[request_id]
                return request_id, request
        return None

    def hold(self) -> None:
        """Send nothing until :meth:`repeat`, because the connection is lost."""
        self._outbound.clear()

    def repeat(self) -> None:
        """Queue all unanswered requests again, for a new connection."""
        self._outbound = deque(self._unanswered)
        self.on_request()

    def largest(self) -> int | None:
        """Return the id of the largest request, or None if all are answered."""
        sizes = {request_id: request.size for request_id, request in self._unanswered.items()}
        return max(sizes, key=sizes.__getitem__, default=None)

    def take_all(self) -> list[Unanswered]:
        """Remove and return all requests."""
        requests, self._unanswered = list(self._unanswered.values()), {}
        self._outbound.clear()
        return requests
