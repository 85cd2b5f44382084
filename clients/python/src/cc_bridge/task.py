"""The background task of a client. It owns the connection, and reconnects while it is needed."""

from __future__ import annotations

import asyncio
import logging

from cc_bridge.backoff import Backoff
from cc_bridge.connection import Connection, Target, open_connection
from cc_bridge.errors import (
    BridgeError,
    ClosedError,
    ForbiddenError,
    GaveUpError,
    ProtocolError,
    UnauthorizedError,
)
from cc_bridge.machine import Machine, RetryLaterError
from cc_bridge.refusal import LostError

LOG = logging.getLogger("cc_bridge")
DEFAULT_HEARTBEAT_MS = 15_000
SILENT_HEARTBEATS = 3
"""A view that is silent for so many heartbeats means a cut (docs/protocol.md, "Reconnect")."""


class ClientTask:
    """The task that sends requests, reads messages, and reconnects with backoff.

    It reads all the time, also while a program does not read its runs: pings must be answered. Each
    run has a bounded buffer, see :class:`~cc_bridge.run_buffer.RunBuffer`.
    """

    def __init__(self, target: Target, machine: Machine, first: Connection) -> None:
        self._target = target
        self._machine = machine
        self._connection: Connection | None = first
        self._wake = asyncio.Event()
        self._backoff = Backoff(target.options.first_delay, target.options.max_delay)
        self._stuck_since: float | None = None
        """The time since which no connection has made progress; None while one works."""
        self._pause = 0.0
        self._refusal: BridgeError | None = None
        """The error of a bridge that does not let this client in. No further attempt is made."""
        machine.requests.on_request = self._wake.set
        machine.connected(first.message_bytes)
        self._loop = asyncio.get_running_loop()
        self._task = self._loop.create_task(self._run(first), name="cc_bridge")
        self._task.add_done_callback(self._ended)

    @property
    def is_running(self) -> bool:
        """Whether the task works. Requests fail after its end."""
        return not self._task.done()

    async def close(self) -> None:
        """Send the queued requests, close the connection, and end the task."""
        connection = self._connection
        if connection is not None:
            while (text := self._machine.next_request()) is not None:
                if not await connection.send(text):
                    break
            await connection.close()
        self._task.cancel()
        await asyncio.wait([self._task])

    def _ended(self, task: asyncio.Task[None]) -> None:
        error = ClosedError("the client was closed")
        if not task.cancelled() and task.exception() is not None:
            # A mistake of this package must not look like a silent run.
            error = ClosedError(f"the client failed: {task.exception()!r}")
            error.__cause__ = task.exception()
            LOG.error("the client failed", exc_info=task.exception())
        self._machine.fail(error)

    async def _run(self, connection: Connection) -> None:
        while True:
            lost = await self._serve(connection)
            self._connection = None
            if lost.final is not None:
                self._fail(lost.final)
            elif lost.too_big:
                self._machine.refuse_largest(ProtocolError(lost.reason))
            self._pause = lost.pause or 0.0
            connection = self._connection = await self._reconnect(lost.reason)

    async def _serve(self, connection: Connection) -> LostError:
        """Use a connection until it ends. Return why."""
        parts = (self._read(connection), self._write(connection), self._watch(connection))
        tasks = [self._loop.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            connection.abort()
        errors = [task.exception() for task in tasks if not task.cancelled()]
        for error in errors:
            if error is not None and not isinstance(error, LostError):
                raise error
        # The reader is first: it knows the close code.
        reasons = [error for error in errors if isinstance(error, LostError)]
        return reasons[0] if reasons else LostError("the connection ended")

    async def _read(self, connection: Connection) -> None:
        while True:
            text = await connection.receive()
            try:
                if self._machine.message(text, self._loop.time()):
                    self._stuck_since = None
                    self._backoff.reset()
            except RetryLaterError as error:
                raise LostError(str(error), pause=error.pause) from None
            except BridgeError as error:
                raise LostError(error.message, final=error) from None
            # The program gets a turn after each message, so that its buffer does not fill up
            # while the library has further messages at hand.
            await asyncio.sleep(0)

    async def _write(self, connection: Connection) -> None:
        while True:
            while (text := self._machine.next_request()) is not None:
                if not await connection.send(text):
                    await asyncio.Event().wait()  # The reader reports the end.
            self._wake.clear()
            await self._wake.wait()

    async def _watch(self, connection: Connection) -> None:
        interval = self._target.options.ping
        heartbeat = connection.greeting.limit("heartbeatMs", DEFAULT_HEARTBEAT_MS) / 1000
        while True:
            await asyncio.sleep(interval)
            if not await connection.is_alive(interval):
                raise LostError(f"the bridge did not answer a ping within {interval:g} s")
            silence = self._machine.views.silence(self._loop.time())
            if silence > SILENT_HEARTBEATS * heartbeat:
                raise LostError(f"a view was silent for {silence:.0f} s")

    async def _reconnect(self, reason: str) -> Connection:
        while True:
            while self._machine.is_idle:
                self._stuck_since = None
                self._wake.clear()
                await self._wake.wait()
            if self._refusal is not None:
                self._machine.fail(self._refusal)
                continue
            now = self._loop.time()
            if self._stuck_since is None:
                self._stuck_since = now
            stuck, give_up = now - self._stuck_since, self._target.options.give_up
            if stuck >= give_up:
                text = f"lost the bridge and could not reconnect within {stuck:.0f} s: {reason}"
                self._machine.fail(GaveUpError(text))
                continue
            # A pause that the bridge asked for ends when the client gives up.
            delay = max(self._backoff.next_delay(), min(self._pause, give_up - stuck))
            self._pause = 0.0
            LOG.debug("no connection: %s; connecting again in %.2f s", reason, delay)
            self._machine.lost(reason, delay)
            await asyncio.sleep(delay)
            try:
                connection = await open_connection(self._target)
            except BridgeError as error:
                if error.is_transient:
                    self._pause = error.retry_after or 0.0
                    reason = error.message
                else:
                    self._fail(error)
                continue
            self._machine.connected(connection.message_bytes)
            return connection

    def _fail(self, error: BridgeError) -> None:
        """End all requests and runs. If the bridge refuses this client, never connect again."""
        self._machine.fail(error)
        if isinstance(error, UnauthorizedError | ForbiddenError):
            self._refusal = error
