"""agents: the model starts an agent that the program defines."""

from claude_agent_sdk import AgentDefinition
from common import init, main, run, success, tool_results


async def check():
    agents = {
        "helper": AgentDefinition(
            description="Helps", prompt="You are MARK-helper.", tools=["Read"]
        )
    }
    arguments = '{"description": "help", "prompt": "@marks", "subagent_type": "helper"}'
    messages = await run(f"@tool Task {arguments}\n@say end", agents=agents)
    assert "helper" in init(messages)["agents"], messages
    success(messages)
    ((content, is_error),) = tool_results(messages)
    assert not is_error and "MARK-helper" in str(content), messages

    # A permission mode would let the agent do more than the operator allows.
    agents["helper"].permissionMode = "bypassPermissions"
    try:
        messages = await run("@say x", agents=agents)
    except Exception as error:
        assert "permissionMode" in str(error) and "helper" in str(error), repr(error)
    else:
        raise AssertionError(f"the field was accepted: {messages}")


main(check)
