"""hooks: PreToolUse denies a command, PostToolUse adds a context that the model reads."""

from claude_agent_sdk import HookMatcher
from common import main, run, success, texts, tool_results


async def check():
    seen = []

    async def before(data, tool_use_id, context):
        seen.append((data["hook_event_name"], data["tool_input"]["command"], tool_use_id))
        if "secret" not in data["tool_input"]["command"]:
            return {}
        decision = {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": "a hook forbids it",
        }
        return {"hookSpecificOutput": decision}

    async def after(data, tool_use_id, context):
        seen.append((data["hook_event_name"], data["tool_response"]["stdout"], tool_use_id))
        added = {"hookEventName": "PostToolUse", "additionalContext": "MARK-from-the-hook"}
        return {"hookSpecificOutput": added}

    messages = await run(
        "@bash echo secret\n@bash echo public\n@marks",
        allowed_tools=["Bash"],
        hooks={
            "PreToolUse": [HookMatcher(matcher="Bash", hooks=[before])],
            "PostToolUse": [HookMatcher(matcher="Bash", hooks=[after])],
        },
    )
    success(messages)
    (denied, is_error), (public, public_is_error) = tool_results(messages)
    assert is_error and "a hook forbids it" in denied, denied
    assert (public, public_is_error) == ("public", False), messages
    assert texts(messages)[-1] == "MARK-from-the-hook", messages
    events = [(event, text) for event, text, _ in seen]
    assert events == [
        ("PreToolUse", "echo secret"),
        ("PreToolUse", "echo public"),
        ("PostToolUse", "public"),
    ], events
    ids = [tool_use_id for _, _, tool_use_id in seen]
    assert len(set(ids)) == 2 and all(id.startswith("toolu_") for id in ids), ids


main(check)
