"""ClaudeSDKClient.interrupt(): in the middle of an answer, of a command, and of a prompt."""

import anyio
from claude_agent_sdk import (
    ClaudeSDKClient,
    PermissionResultDeny,
    ResultMessage,
    StreamEvent,
    ToolUseBlock,
)
from common import main, options, success, turn


async def until(messages, condition):
    """Reads messages until one meets the condition."""
    async for message in messages:
        assert not isinstance(message, ResultMessage), message
        if condition(message):
            return


async def interrupted(client, messages):
    """Interrupts the turn. Returns its result."""
    await client.interrupt()
    rest = [message async for message in messages]
    assert isinstance(rest[-1], ResultMessage), rest
    return rest[-1]


def is_delta(message):
    return isinstance(message, StreamEvent) and message.event["type"] == "content_block_delta"


def uses_tool(message):
    return any(isinstance(block, ToolUseBlock) for block in getattr(message, "content", []))


async def check():
    asked = anyio.Event()

    async def never(name, arguments, context):
        asked.set()
        await anyio.sleep_forever()
        return PermissionResultDeny()

    more = {"include_partial_messages": True, "allowed_tools": ["Bash(sleep:*)"]}
    async with ClaudeSDKClient(options(can_use_tool=never, **more)) as client:
        await client.query("@tokens 1000 100")
        messages = client.receive_response()
        await until(messages, is_delta)
        end = await interrupted(client, messages)
        assert end.subtype == "error_during_execution", end
        assert success(await turn(client, "@say next turn")) == "next turn"

        await client.query("@bash sleep 300")
        messages = client.receive_response()
        await until(messages, uses_tool)
        end = await interrupted(client, messages)
        assert end.is_error, end
        assert success(await turn(client, "@say and another")) == "and another"

        await client.query("@bash touch asked")
        await asked.wait()
        end = await interrupted(client, client.receive_response())
        assert end.is_error, end
        assert success(await turn(client, "@say the last")) == "the last"


main(check)
