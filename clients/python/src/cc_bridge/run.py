"""A run: the output and the events of one execution."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from cc_bridge.errors import BridgeError, ClosedError, GapError, ProtocolError
from cc_bridge.events import Accepted, Ended, Event, Gap, Output, StatusChanged
from cc_bridge.input_stream import InputStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from types import TracebackType
    from typing import Self

    from cc_bridge.bridge import Bridge
    from cc_bridge.output_tracker import OutputCheck
    from cc_bridge.status import Status
    from cc_bridge.view import View
    from cc_bridge.views import Views


class Run:
    """One execution as this program sees it. It continues after a reconnect, at the exact byte.

    Read it in one of these ways, from one task at a time:

    - ``async for text in run`` yields the output as strings. It raises :class:`GapError` at a gap,
      unless the run was opened with ``on_slow="skip"``; a further loop continues after the gap.
    - ``async for event in run.events()`` yields statuses, notices and gaps too.
    - ``status = await run`` discards the rest of the output, and returns the terminal status.

    **Slow programs.** About 1 MiB of messages waits for a program that reads slowly. When more
    arrives, the client asks the bridge to stop, and requests the rest at the byte reached once the
    program has read everything that waits. No byte is lost. With ``on_slow="skip"`` the oldest
    output is dropped instead, and becomes a gap.

    **Cancellation.** When a task is cancelled while it waits for a run, the bridge stops sending
    the messages of the run; the execution continues. No byte is lost: a later read continues at the
    same byte. ``async with run`` ends the view for good, and so does dropping the last reference to
    the run.
    """

    def __init__(self, bridge: Bridge, views: Views, view: View, wake: asyncio.Event) -> None:
        self._bridge = bridge
        self._views = views
        self._view = view
        self._wake = wake
        self._status: Status | None = None
        self._end: Ended | BridgeError | None = None
        self._reading = False
        self.input = InputStream(bridge, view.execution_id)
        """Further messages for an execution that was started with ``input="stream"``."""
        loop = asyncio.get_running_loop()
        finalizer = weakref.finalize(self, _dropped, loop, views, view)
        finalizer.atexit = False

    def __repr__(self) -> str:
        state = self._status.state if self._status else "unknown"
        return f"<Run {self.id} {state}, {self.reached} bytes>"

    @property
    def id(self) -> str:
        """The id of the execution."""
        return self._view.execution_id

    @property
    def status(self) -> Status:
        """The newest status that was read from the run."""
        if self._status is None:
            raise ClosedError("the run has no status yet")
        return self._status

    @property
    def reached(self) -> int:
        """The offset after the last byte that the client has received."""
        return self._view.output.reached

    @property
    def check(self) -> OutputCheck | None:
        """Whether the output was received completely. None before the end."""
        return self._end.check if isinstance(self._end, Ended) else None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while (event := await self._next()) is not None:
            match event:
                case Output(text=text):
                    return text
                case Gap(start, end) if self._view.on_slow != "skip":
                    raise GapError(start, end)
        raise StopAsyncIteration

    def events(self) -> AsyncIterator[Event]:
        """Return an iterator of all events that were not read yet. :class:`Ended` is the last."""
        return _Events(self)

    def __await__(self) -> Generator[object, None, Status]:
        return self.wait().__await__()

    async def wait(self) -> Status:
        """Discard the output that was not read, and return the terminal status.

        An execution that failed is no exception: see :attr:`Status.is_success`. Raises the error of
        the run, if it has one, for example :class:`OutputError`.
        """
        while await self._next() is not None:
            pass
        return self.status

    async def text(self) -> str:
        """Return the rest of the output as one string. Raises :class:`GapError` at a gap."""
        return "".join([piece async for piece in self])

    async def cancel(self) -> Status:
        """Cancel the execution. A repetition changes nothing. See :meth:`Bridge.cancel`."""
        return await self._bridge.cancel(self.id)

    async def pause(self) -> Status:
        """Stop the process tree of the execution. A repetition changes nothing."""
        return await self._bridge.pause(self.id)

    async def resume(self) -> Status:
        """Continue the process tree of a paused execution."""
        return await self._bridge.resume(self.id)

    async def detach(self) -> None:
        """End the view of this run, and return when the bridge has confirmed it.

        The execution continues. Later reads raise :class:`ClosedError`.
        """
        self._close()
        await self._bridge.ping()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def _close(self) -> None:
        self._views.forget(self._view)
        if self._end is None:
            self._end = ClosedError("the run was detached")
            self._wake.set()

    async def _accepted(self) -> None:
        """Wait for the answer of the bridge. A cancellation ends the view."""
        try:
            while not isinstance(event := await self._next(), Accepted):
                if event is None:
                    raise ProtocolError("the run ended before it was accepted")
        except BaseException:
            self._close()
            raise

    async def _next(self) -> Event | None:
        """Return the next event, or None after the end. Raises the error of the run, each time."""
        if self._reading:
            raise RuntimeError("another task reads this run; read it from one task at a time")
        self._reading = True
        try:
            return await self._read()
        except asyncio.CancelledError:
            self._views.suspend(self._view)
            raise
        finally:
            self._reading = False

    async def _read(self) -> Event | None:
        while True:
            if isinstance(self._end, BridgeError):
                raise self._end
            if self._end is not None:
                return None
            self._wake.clear()
            item = self._view.buffer.pop()
            if item is not None:
                break
            self._views.wants_more(self._view)
            await self._wake.wait()
        match item:
            case BridgeError():
                self._end = item
                raise item
            case Ended():
                self._end = item
                self._status = item.status
            case Accepted(status) | StatusChanged(status=status):
                self._status = status
        return item


class _Events:
    """The iterator of :meth:`Run.events`. It holds no state of its own."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        event = await self._run._next()
        if event is None:
            raise StopAsyncIteration
        return event


def _dropped(loop: asyncio.AbstractEventLoop, views: Views, view: View) -> None:
    """Detach a run whose last reference was dropped, possibly by another thread."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(views.forget, view)
