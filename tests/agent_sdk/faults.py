"""A session of several turns, during which the caller cuts the connection of `ccb-claude`.

Prints a line `cut` or `restart` at each of the points where the caller must do that, and continues
after an answering line on stdin. With `without-faults` it prints none. The last line is the list of
all messages that the SDK returned, as JSON; whatever differs between two equal runs is replaced.
"""

import dataclasses
import json
import re
import sys

import anyio
from claude_agent_sdk import (
    ClaudeSDKClient,
    HookMatcher,
    PermissionResultAllow,
    ResultMessage,
    StreamEvent,
    create_sdk_mcp_server,
    tool,
)
from common import PATIENCE, options

# Members that hold a time or a cost, or the id of a process.
TIMES = re.compile(r"(_|^)(ms|time|cost|cost_usd)$|^costUSD$|duration|messaging_socket_path")
# Ids of messages, tool uses and requests.
IDS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(toolu|msg|req)_\w+|task_\w+")
# The CLI sends this one or not, depending on the moment of its start.
OPTIONAL = "background_tasks_changed"


class Normal:
    """Replaces ids by the order of their first appearance, and leaves times out."""

    def __init__(self):
        self.ids = {}

    def value(self, value):
        if isinstance(value, dict):
            kept = {k: v for k, v in value.items() if not TIMES.search(k)}
            return {self.value(k): self.value(v) for k, v in kept.items()}
        if isinstance(value, list | tuple):
            return [self.value(item) for item in value]
        if isinstance(value, str):
            return IDS.sub(lambda id: self.ids.setdefault(id[0], f"id{len(self.ids)}"), value)
        return value

    def message(self, message):
        return [type(message).__name__, self.value(dataclasses.asdict(message))]


async def session(fault):
    """Runs the session. Returns all its messages."""
    messages = []

    async def decide(name, arguments, context):
        await fault("cut")  # while a permission prompt is open
        return PermissionResultAllow(updated_input=arguments)

    async def before(data, tool_use_id, context):
        await fault("cut")  # while a hook runs
        return {}

    @tool("add", "Adds two numbers", {"a": int, "b": int})
    async def add(arguments):
        await fault("cut")  # while a tool of this program runs
        return {"content": [{"type": "text", "text": str(arguments["a"] + arguments["b"])}]}

    async def turn(client, prompt, faults):
        """Runs a turn, with a fault after each of these numbers of deltas."""
        await client.query(prompt)
        deltas = 0
        async for message in client.receive_response():
            messages.append(message)
            if isinstance(message, StreamEvent):
                deltas += message.event["type"] == "content_block_delta"
                if faults.get(deltas):
                    await fault(faults.pop(deltas))
        assert not faults, (prompt, faults, deltas)
        assert isinstance(messages[-1], ResultMessage) and not messages[-1].is_error, messages[-1]

    more = {
        "can_use_tool": decide,
        "hooks": {"PreToolUse": [HookMatcher(matcher="Bash", hooks=[before])]},
        "mcp_servers": {"calculator": create_sdk_mcp_server("calculator", tools=[add])},
        "include_partial_messages": True,
    }
    async with ClaudeSDKClient(options(**more)) as client:
        await fault("cut")  # before the first message
        await turn(client, "@tokens 60 40", {10: "cut", 30: "restart"})
        await fault("cut")  # between turns
        await turn(client, "@bash touch made && echo made\n@tokens 20 40", {10: "cut"})
        await turn(client, '@tool mcp__calculator__add {"a": 40, "b": 2}', {})
        await fault("restart")
        await turn(client, "@tokens 30 40", {5: "cut"})
        await fault("cut")
    return messages


async def main(mode):
    async def fault(kind):
        if mode != "without-faults":
            print(kind, flush=True)
            assert await anyio.to_thread.run_sync(sys.stdin.readline)

    with anyio.fail_after(2 * PATIENCE):
        messages = await session(fault)
    kept = [message for message in messages if getattr(message, "subtype", "") != OPTIONAL]
    normal = Normal()
    print(json.dumps([normal.message(message) for message in kept]), flush=True)


anyio.run(main, *sys.argv[1:])
