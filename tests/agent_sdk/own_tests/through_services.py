"""A plugin of pytest that runs the SDK's own tests through `ccb-claude` and both services.

The tests have two kinds of stand-ins for the CLI:

- a script, which the SDK starts as a process. Here the SDK starts `ccb-claude` instead, and the
  service starts the script;
- an object with the methods of a transport, which the SDK's `Query` uses instead of a process. Here
  `Query` gets a `Relay`: the object's messages are printed by a puppet that the service starts, and
  the lines that `Query` writes are those that the puppet read.

The tests and the SDK are unchanged. The environment has CCB_CLAUDE, CCB_URL, and CCB_FOLDER, which
holds the launcher. `results.json` in that folder has the outcome of each test, and how many lines
passed in each direction.
"""

import importlib.util
import json
import os
from pathlib import Path

import anyio
import pytest
from claude_agent_sdk import ClaudeAgentOptions
from claude_agent_sdk._internal.query import Query
from claude_agent_sdk._internal.transport import Transport, subprocess_cli
from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

CCB_CLAUDE = os.environ["CCB_CLAUDE"]
FOLDER = Path(os.environ["CCB_FOLDER"])
# Seconds for one message, or for a start.
PATIENCE = 10
# Seconds that a test's transport waits for the first line of `Query`. It expects that line after a
# hundredth of a second, and the start of the puppet takes longer.
FIRST_WRITE = 0.5
# Variables that only exist for a stand-in, which cannot get them through the services.
FAKE = "FAKE_CLI_"

open_process = anyio.open_process


def second_copy(module):
    """Loads a module of the SDK once more. Tests replace names of the first copy."""
    spec = importlib.util.spec_from_file_location(f"{module.__name__}_copy", module.__file__)
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


ProcessTransport = second_copy(subprocess_cli).SubprocessCLITransport


class Count:
    """What one test did."""

    def __init__(self):
        # Executions that were started.
        self.processes = 0
        # Lines that passed through the services from the SDK to a puppet, and back.
        self.up = 0
        self.down = 0
        # Executions whose CLI is a script of the test.
        self.scripts = 0
        # Lines that were written after the end of the puppet, and so did not pass.
        self.late = 0


count = Count()


def set_current(current):
    (FOLDER / "current").write_text(json.dumps(current))


async def open_through_services(command, **options):
    """Starts `ccb-claude` in place of a script that a test wrote as its CLI."""
    is_cli = isinstance(command, list) and "--output-format" in command
    if is_cli and command[0] != CCB_CLAUDE:
        environment = options.get("env") or {}
        fake = {name: value for name, value in environment.items() if name.startswith(FAKE)}
        set_current({"script": command[0], "environment": fake})
        command = [CCB_CLAUDE, *command[1:]]
        count.processes += 1
        count.scripts += 1
    return await open_process(command, **options)


anyio.open_process = open_through_services


class Relay(Transport):
    """A transport whose CLI is a puppet behind the services. The test's own transport moves it."""

    number = 0

    def __init__(self, inner):
        self.inner = inner
        self.real = None
        self.puppet = None
        self.pending = b""
        self.arriving = None
        self.starting = None
        self.written = None
        self.seen = set()
        self.is_over = False

    def __getattr__(self, name):
        return getattr(self.inner, name)

    async def start(self):
        if self.starting is None:
            self.starting = anyio.Lock()
            self.written = anyio.Event()
        async with self.starting:
            if self.puppet is not None or self.is_over:
                return
            Relay.number += 1
            path = FOLDER / f"puppet-{Relay.number}"
            listener = await anyio.create_unix_listener(path)
            set_current({"socket": str(path)})
            options = ClaudeAgentOptions(cli_path=CCB_CLAUDE)
            self.real = ProcessTransport(prompt="", options=options)
            await self.real.connect()
            with anyio.fail_after(PATIENCE):
                self.puppet = await listener.accept()
            await listener.aclose()
            self.arriving = self.real.read_messages()
            count.processes += 1

    async def order(self, order):
        await self.puppet.send(json.dumps(order).encode() + b"\n")

    async def report(self):
        """Returns the next report of the puppet."""
        with anyio.fail_after(PATIENCE):
            while b"\n" not in self.pending:
                self.pending += await self.puppet.receive()
        line, self.pending = self.pending.split(b"\n", 1)
        return json.loads(line)

    async def carry(self, message):
        """Has the puppet print a message. Returns the message that arrives."""
        await self.start()
        await self.order({"print": json.dumps(message)})
        with anyio.fail_after(PATIENCE):
            arrived = await self.arriving.__anext__()
        count.down += 1
        if arrived.get("type") == "control_request":
            self.seen.add(arrived.get("request_id"))
        return arrived

    async def connect(self):
        await self.inner.connect()

    async def write(self, data):
        await self.start()
        if self.is_over:
            count.late += 1
            return await self.inner.write(data)
        await self.real.write(data)
        lines = []
        for _ in data.splitlines():
            lines.append((await self.report())["line"])
            count.up += 1
        arrived = [json.loads(line) for line in lines]
        if arrived != [json.loads(line) for line in data.splitlines()]:
            # The service has built the line anew.
            data = "".join(json.dumps(line) + "\n" for line in arrived)
        await self.inner.write(data)
        self.written.set()

    async def read_messages(self):
        try:
            await self.start()
            with anyio.move_on_after(FIRST_WRITE):
                await self.written.wait()
            async for message in self.inner.read_messages():
                yield await self.carry(message)
        finally:
            with anyio.CancelScope(shield=True):
                await self.end()

    async def end(self):
        """Ends the puppet. Its process must end as it says."""
        if self.puppet is None or self.is_over:
            return
        self.is_over = True
        await self.order({"exit": 0})
        with anyio.fail_after(PATIENCE):
            async for message in self.arriving:
                raise AssertionError(f"an unexpected message: {message}")
        await self.puppet.aclose()
        await self.real.close()

    async def end_input(self):
        # Tests look at this after a few steps of the event loop, so the services must not delay it.
        await self.inner.end_input()
        if self.puppet is not None and not self.is_over:
            await self.real.end_input()
            assert await self.report() == {"end": True}

    async def close(self):
        await self.end()
        await self.inner.close()

    def is_ready(self):
        return self.inner.is_ready()


query_init = Query.__init__
handle_control_request = Query._handle_control_request


def init(self, *arguments, **options):
    if "transport" in options:
        inner = options["transport"]
    else:
        inner, *arguments = arguments
    is_process = isinstance(inner, SubprocessCLITransport)
    options["transport"] = inner if is_process else Relay(inner)
    query_init(self, *arguments, **options)


async def handle(self, request):
    """Handles a request that a test gives to `Query` directly as one that the puppet printed."""
    transport = self.transport
    if isinstance(transport, Relay) and request.get("request_id") not in transport.seen:
        request = await transport.carry(request)
    await handle_control_request(self, request)


Query.__init__ = init
Query._handle_control_request = handle

results = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item, nextitem):
    global count
    count = Count()
    return (yield)


@pytest.hookimpl
def pytest_runtest_logreport(report):
    if report.when == "call" or report.failed or report.skipped:
        reason = str(report.longrepr)[-2000:] if report.failed else ""
        results[report.nodeid] = {"outcome": report.outcome, "reason": reason, **vars(count)}


@pytest.hookimpl
def pytest_sessionfinish(session):
    (FOLDER / "results.json").write_text(json.dumps(results, indent=1))
