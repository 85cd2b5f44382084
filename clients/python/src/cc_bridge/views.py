"""The views of one client, and the requests that begin and end them. The module does no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cc_bridge.errors import BridgeError, ClosedError
from cc_bridge.events import Ended, Event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cc_bridge.requests import Requests
    from cc_bridge.view import View


class Views:
    """The views by their executions: a client has at most one view of each."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests
        self._views: dict[str, View] = {}

    def get(self, execution_id: str) -> View | None:
        """Return the view of an execution, if there is one."""
        return self._views.get(execution_id)

    def active(self) -> list[View]:
        """Return the views that are not detached."""
        return [view for view in self._views.values() if not view.detached]

    def silence(self, now: float) -> float:
        """Return the longest time since a message about a view arrived, in seconds."""
        views = (view for view in self.active() if view.opening is None)
        return max((now - view.last_heard for view in views), default=0.0)

    def open(self, view: View, method: str, params: Mapping[str, Any]) -> None:
        """Open a view with an execute or attach. An older view of the execution ends."""
        opening = self._requests.add(method, params, view)
        older = self._views.get(view.execution_id)
        if older is not None:
            self.fail(older, ClosedError("a newer run of this client views the same execution"))
        if params.get("onDisconnect") == "cancel":
            view.execute_again = params
        view.opening = opening
        self._views[view.execution_id] = view

    def forget(self, view: View) -> None:
        """End a view whose run was closed or dropped. The bridge stops its messages."""
        view.buffer.clear()
        if self._views.get(view.execution_id) is view:
            self._remove(view)
            if not view.detached:
                self._detach(view)

    def end(self, view: View, error: BridgeError) -> None:
        """End a view with an error, which its run raises. The bridge stops its messages."""
        if self._views.get(view.execution_id) is view:
            self.fail(view, error)
            self._detach(view)

    def fail(self, view: View, error: BridgeError) -> None:
        """End a view with an error, which its run raises. The bridge has no view of it."""
        self._remove(view)
        view.buffer.push(error)

    def fail_all(self, error: Callable[[], BridgeError]) -> None:
        """End all views, each with an error of its own."""
        for view in list(self._views.values()):
            self.fail(view, error())

    def suspend(self, view: View) -> None:
        """Stop the messages of an accepted view. :meth:`wants_more` continues them."""
        if self._views.get(view.execution_id) is view and view.accepted and not view.detached:
            view.detached = True
            if view.opening is not None:
                self._requests.remove(view.opening)
                view.opening = None
            self._detach(view)

    def wants_more(self, view: View) -> None:
        """Attach a detached view again, because the program has read all waiting events."""
        if self._views.get(view.execution_id) is view and view.detached:
            view.detached = False
            view.attaches_quietly = True
            self.attach(view)

    def attach(self, view: View) -> None:
        """Request the messages of a view from the offset reached on."""
        params = {
            "executionId": view.execution_id,
            "offset": view.output.reached,
            "onSlow": view.on_slow,
        }
        view.opening = self._requests.add("attach", params, view)

    def apply(self, view: View, handle: Callable[[], list[Event]], size: int) -> None:
        """Handle a message with a view. An error, or the end of the execution, ends the view."""
        try:
            events = handle()
        except BridgeError as error:
            self.end(view, error)
            return
        for event in events:
            self.emit(view, event, size)

    def emit(self, view: View, event: Event, size: int) -> None:
        """Add an event to the buffer of a run. If the buffer is full, stop the messages."""
        view.buffer.push(event, size)
        if isinstance(event, Ended):
            self._remove(view)
        elif view.buffer.is_full and not view.buffer.skips:
            self.suspend(view)

    def _detach(self, view: View) -> None:
        self._requests.add("detach", {"executionId": view.execution_id}, None)

    def _remove(self, view: View) -> None:
        if self._views.get(view.execution_id) is view:
            del self._views[view.execution_id]
        if view.opening is not None:
            self._requests.remove(view.opening)
            view.opening = None
