"""What the programs of this folder share.

Each program uses the official Agent SDK with `ccb-claude` as its CLI. The environment has:

- CCB_CLAUDE: the path of `ccb-claude`;
- CCB_URL: the address of a bridge, which `ccb-claude` reads.

A program asserts what it sees, and prints `ok` at the end.
"""

import os
import sys

import anyio
from claude_agent_sdk import (
    AssistantMessage,
    ClaudeAgentOptions,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    UserMessage,
    query,
)

# Seconds for everything that a program waits for.
PATIENCE = 60


def options(**more):
    """Returns the SDK's options with `ccb-claude` as the CLI. Its errors appear on stderr."""
    more.setdefault("stderr", lambda line: print(line, file=sys.stderr, flush=True))
    return ClaudeAgentOptions(cli_path=os.environ["CCB_CLAUDE"], **more)


def user(content):
    """Returns a message of the user."""
    message = {"role": "user", "content": content}
    return {"type": "user", "message": message, "parent_tool_use_id": None, "session_id": "default"}


async def stream(*contents):
    """Yields messages of the user."""
    for content in contents:
        yield user(content)


async def run(prompt, **more):
    """Returns all messages of one query. A list of content blocks is a prompt, too."""
    prompt = stream(prompt) if isinstance(prompt, list) else prompt
    return [message async for message in query(prompt=prompt, options=options(**more))]


async def turn(client, prompt):
    """Sends a prompt to a client. Returns all messages of the turn."""
    await client.query(prompt)
    return [message async for message in client.receive_response()]


def init(messages):
    """Returns the data of the first `init` message."""
    return next(m.data for m in messages if isinstance(m, SystemMessage) and m.subtype == "init")


def texts(messages):
    """Returns the texts of the model."""
    blocks = [b for m in messages if isinstance(m, AssistantMessage) for b in m.content]
    return [block.text for block in blocks if isinstance(block, TextBlock)]


def tool_results(messages):
    """Returns the results of tools, each as its content and whether it is an error."""
    blocks = [b for m in messages if isinstance(m, UserMessage) for b in m.content]
    results = [block for block in blocks if isinstance(block, ToolResultBlock)]
    return [(block.content, bool(block.is_error)) for block in results]


def result(messages):
    """Returns the last message, which must be the only result."""
    results = [m for m in messages if isinstance(m, ResultMessage)]
    assert len(results) == 1 and messages[-1] is results[0], messages
    return results[0]


def success(messages):
    """Returns the text of the result, which must be a success."""
    end = result(messages)
    assert end.subtype == "success" and not end.is_error, end
    return end.result


async def refused(prompt, *words, **more):
    """Asserts that a query fails, and that stderr has a sentence of `ccb-claude` with the words."""
    lines = []
    try:
        messages = await run(prompt, stderr=lines.append, **more)
    except Exception as error:
        sentences = [line for line in lines if line.startswith("cc-bridge: ")]
        assert sentences, (lines, repr(error))
        for word in words:
            assert word in sentences[-1], (word, lines, repr(error))
    else:
        raise AssertionError(f"the query succeeded: {messages}")


def main(check, *arguments):
    """Runs a check with arguments, and prints `ok` if it returns."""

    async def limited():
        with anyio.fail_after(PATIENCE):
            await check(*arguments)

    anyio.run(limited)
    print("ok", flush=True)
