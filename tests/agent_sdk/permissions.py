"""can_use_tool: allowed with a changed input, denied, and an answer after many seconds."""

from claude_agent_sdk import ClaudeSDKClient, PermissionResultAllow, PermissionResultDeny
from common import main, options, result, success, tool_results, turn


async def check():
    asked = []

    async def decide(name, arguments, context):
        asked.append((name, arguments["command"]))
        if "secret" in arguments["command"]:
            return PermissionResultDeny(message="the answer is no")
        changed = arguments["command"].replace("original", "changed")
        return PermissionResultAllow(updated_input={**arguments, "command": changed})

    async with ClaudeSDKClient(options(can_use_tool=decide)) as client:
        messages = await turn(client, "@bash touch original && ls")
        assert success(messages) == "changed", messages
        assert asked == [("Bash", "touch original && ls")], asked

        messages = await turn(client, "@bash touch secret")
        assert tool_results(messages) == [("the answer is no", True)], messages
        denials = result(messages).permission_denials
        assert [denial["tool_name"] for denial in denials] == ["Bash"], denials

        # The denied command did not run, nor did the original one.
        assert success(await turn(client, "@bash ls")) == "changed"

    async def stop(name, arguments, context):
        return PermissionResultDeny(message="stop everything", interrupt=True)

    async with ClaudeSDKClient(options(can_use_tool=stop)) as client:
        messages = await turn(client, "@bash touch another\n@say not reached")
        assert result(messages).is_error, messages


main(check)
