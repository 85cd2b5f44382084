"""ClaudeSDKClient: several turns in one CLI, with an idle time between them.

usage: turns.py IDLE_SECONDS
"""

import sys

import anyio
from claude_agent_sdk import ClaudeSDKClient
from common import init, main, options, refused, result, success, turn


async def check(idle):
    # The idle timeout is in force: a turn that is silent for the idle time is ended.
    await refused(f"@stall {idle}", "idle_timeout")

    sessions = set()
    async with ClaudeSDKClient(options(allowed_tools=["Bash"])) as client:
        for number in range(3):
            messages = await turn(client, f"@say turn {number}")
            assert success(messages) == f"turn {number}", messages
            sessions.add(result(messages).session_id)
        await anyio.sleep(float(idle))
        messages = await turn(client, "@bash echo after $((40 + 2)) idle seconds")
        assert success(messages) == "after 42 idle seconds", messages
        sessions.add(result(messages).session_id)
        assert init(messages)["session_id"] in sessions, messages
    assert len(sessions) == 1, sessions


main(check, *sys.argv[1:])
