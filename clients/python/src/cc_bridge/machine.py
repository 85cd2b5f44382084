r"""The requests and views of one client, as a state machine without I/O.

The machine gets the messages of the bridge, and produces requests to send, and events for runs.
The client's task does the I/O::

    opening --answer--> viewing --terminal statusUpdate--> removed
       \--error--> removed ^ |
                            | v  connection lost
                     attaching again, at the offset reached

An accepted view survives a lost connection, and some errors of its attach (docs/protocol.md,
"Reconnect", step 5). Any other error ends it.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any

from cc_bridge.errors import (
    BridgeError,
    CancelledUnansweredError,
    ProtocolError,
    RpcError,
    TooLargeError,
    TooManySessionsError,
)
from cc_bridge.events import Disconnected
from cc_bridge.messages import Notification, Reply, parse
from cc_bridge.requests import Answered, Requests
from cc_bridge.run_buffer import SMALL_BYTES
from cc_bridge.view import View, notice_from
from cc_bridge.views import Views

if TYPE_CHECKING:
    from collections.abc import Mapping


class RetryLaterError(Exception):
    """The bridge cannot serve this client now. The client reconnects after a delay."""

    def __init__(self, error: RpcError) -> None:
        super().__init__(error.message)
        self.pause = error.retry_after


class Machine:
    """The state of one client."""

    def __init__(self) -> None:
        self.requests = Requests()
        self.views = Views(self.requests)
        self.message_bytes: int | None = None
        """The maximum size of a request in bytes, once the bridge has said it."""

    @property
    def is_idle(self) -> bool:
        """Whether the client needs no connection."""
        return not self.requests and not self.views.active()

    def request(self, method: str, params: Mapping[str, Any], answered: Answered) -> int:
        """Queue any other request. Return its id."""
        if method == "control" and params.get("type") == "CANCEL":
            view = self.views.get(str(params.get("executionId")).lower())
            if view is not None:
                view.cancel_sent = True
        return self.requests.add(method, params, answered)

    def next_request(self) -> str | None:
        """Return the text of the next request, or None. Fail requests that are too large."""
        while (queued := self.requests.next()) is not None:
            request_id, request = queued
            if self.message_bytes is None or request.size <= self.message_bytes:
                return request.text
            limit = f"the bridge accepts at most {self.message_bytes}"
            self._refuse(
                request_id, TooLargeError(f"the request has {request.size} bytes; {limit}")
            )
        return None

    def lost(self, reason: str, retry_in: float) -> None:
        """Handle a lost connection, or a failed attempt to connect."""
        self.requests.hold()
        for view in self.views.active():
            if not view.buffer.is_full:
                view.buffer.push(Disconnected(reason, retry_in))

    def connected(self, message_bytes: int) -> None:
        """Handle a new connection: repeat the unanswered requests, and attach the views again."""
        self.message_bytes = message_bytes
        for request_id, request in self.requests:
            view = request.receiver
            if view is None or (not callable(view) and view.accepted):
                # A detach of the lost session, or an attach with an old offset.
                self.requests.remove(request_id)
            elif not callable(view) and view.cancel_sent:
                message = "the execute had no answer when it was cancelled; it is not repeated"
                self.views.fail(view, CancelledUnansweredError(message))
        self.requests.repeat()
        for view in self.views.active():
            if view.accepted:
                if view.execute_again is not None:
                    self.requests.add("execute", view.execute_again, None)
                self.views.attach(view)

    def fail(self, error: BridgeError) -> None:
        """Fail every request, and end every view, with this error."""
        self.views.fail_all(lambda: twin(error))
        for request in self.requests.take_all():
            if callable(request.receiver):
                request.receiver(twin(error))

    def refuse_largest(self, error: BridgeError) -> None:
        """Fail the largest request, because the bridge closed with 1009 and names none."""
        largest = self.requests.largest()
        if largest is None:
            self.fail(error)
        else:
            self._refuse(largest, error)

    def message(self, text: str, now: float = 0.0) -> bool:
        """Handle a message. Return whether it is progress: an answer, or part of a view.

        Raises :class:`ProtocolError` if the bridge broke the protocol, and
        :class:`RetryLaterError` if it cannot serve this client now.
        """
        message = parse(text)
        match message:
            case Reply():
                self._reply(message, now)
            case Notification(method="connected") | None:
                return False
            case Notification():
                self._notification(message, now)
        return True

    def _notification(self, message: Notification, now: float) -> None:
        if message.execution_id is None:
            if message.method == "notice":
                for view in self.views.active():
                    self.views.emit(view, notice_from(message.params), message.size)
            return
        viewed = self.views.get(message.execution_id)
        if viewed is not None and viewed.opening is None and not viewed.detached:
            viewed.last_heard = now
            method, params = message.method, message.params
            self.views.apply(viewed, lambda: viewed.notification(method, params), message.size)

    def _reply(self, reply: Reply, now: float) -> None:
        outcome = reply.outcome
        if reply.request_id is None:
            if isinstance(outcome, TooManySessionsError):
                raise RetryLaterError(outcome)
            raise outcome if isinstance(outcome, RpcError) else ProtocolError("a reply has no id")
        request = self.requests.remove(reply.request_id)
        if request is None or request.receiver is None:
            return  # The answer to a detach, or to a request that nobody waits for.
        if callable(request.receiver):
            request.receiver(outcome)
            return
        view = request.receiver
        view.opening = None
        view.last_heard = now
        if isinstance(outcome, RpcError):
            self._open_refused(view, outcome)
        else:
            self.views.apply(view, lambda: view.answered(outcome), SMALL_BYTES)

    def _open_refused(self, view: View, error: RpcError) -> None:
        """Handle the error of an execute or attach."""
        if view.accepted and error.is_transient:
            raise RetryLaterError(error)
        try:
            gap = view.refused(error)
        except BridgeError as final:
            return self.views.fail(view, final)
        if gap is not None:
            self.views.emit(view, gap, SMALL_BYTES)
        if not view.detached:
            self.views.attach(view)
        return None

    def _refuse(self, request_id: int, error: BridgeError) -> None:
        request = self.requests.remove(request_id)
        if request is None or request.receiver is None:
            return
        if callable(request.receiver):
            request.receiver(error)
        else:
            self.views.fail(request.receiver, error)


def twin(error: BridgeError) -> BridgeError:
    """Return an equal error. Each receiver raises one of its own, with its own traceback."""
    other = copy(error)
    other.__cause__ = error.__cause__
    return other
