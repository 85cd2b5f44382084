"""Permission modes within and beyond the ceiling `acceptEdits` of the service."""

import json

from claude_agent_sdk import ClaudeSDKClient, PermissionResultDeny
from common import init, main, options, refused, success, tool_results, turn


async def check():
    asked = []

    async def deny(name, arguments, context):
        asked.append(name)
        return PermissionResultDeny(message="denied by the program")

    edits = 0

    async def write(client):
        nonlocal edits
        edits += 1
        path = f"file-{edits}.txt"
        arguments = json.dumps({"file_path": path, "content": "x"})
        messages = await turn(client, f"@tool Write {arguments}")
        return tool_results(messages)[0]

    async with ClaudeSDKClient(options(can_use_tool=deny)) as client:
        assert await write(client) == ("denied by the program", True)
        assert asked == ["Write"], asked

        await client.set_permission_mode("acceptEdits")
        content, is_error = await write(client)
        assert not is_error and "file-2.txt" in content, content
        assert asked == ["Write"], asked

        # Beyond the ceiling: the SDK gets an error, and the mode stays.
        try:
            await client.set_permission_mode("bypassPermissions")
        except Exception as error:
            assert "bypassPermissions" in str(error) and "acceptEdits" in str(error), repr(error)
        else:
            raise AssertionError("a mode beyond the ceiling was accepted")
        messages = await turn(client, "print('hello')")
        assert tool_results(messages) == [("denied by the program", True)], messages
        assert init(messages)["permissionMode"] == "acceptEdits", messages

        await client.set_permission_mode("plan")
        messages = await turn(client, "@say planning")
        assert success(messages) == "planning", messages
        assert init(messages)["permissionMode"] == "plan", messages

        await client.set_model("claude-haiku-4-5")
        messages = await turn(client, "@say another model")
        assert init(messages)["model"] == "claude-haiku-4-5", messages

    # The option has the same ceiling.
    await refused("@say x", "bypassPermissions", permission_mode="bypassPermissions")


main(check)
