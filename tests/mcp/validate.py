"""Checks messages of the MCP server against the types of the official SDK, and tool schemas against JSON Schema.

Reads one JSON object a line: `version`, `method` (of the request), `message` (a JSON-RPC message of the server). Prints a line
for each message that is not valid; prints `ok` at the end if all are.
"""

import json
import sys

from jsonschema import Draft202012Validator
from mcp_types import methods
from mcp_types.jsonrpc import JSONRPCError, JSONRPCNotification, JSONRPCResponse


def check(version, method, message):
    """Raises unless the message is what the protocol version allows as an answer to the method."""
    if "error" in message:
        assert "result" not in message, "both a result and an error"
        JSONRPCError.model_validate(message)
    elif "result" in message:
        JSONRPCResponse.model_validate(message)
        result = message["result"]
        task = result.get("resultType") == "task"
        # The types of tasks are an extension, which the SDK does not have.
        if not task and not method.startswith("tasks/"):
            methods.parse_server_result(method, version, result)
        for tool in result.get("tools", []):
            Draft202012Validator.check_schema(tool["inputSchema"])
            if "outputSchema" in tool:
                Draft202012Validator.check_schema(tool["outputSchema"])
    else:
        assert "id" not in message, "a request to the client"
        JSONRPCNotification.model_validate(message)
        methods.parse_server_notification(message["method"], version, message.get("params"))


def main():
    bad = 0
    for line in sys.stdin:
        seen = json.loads(line)
        try:
            check(seen["version"], seen["method"], seen["message"])
        except Exception as error:  # Every kind of failure is a finding.
            bad += 1
            print(f"{line.strip()}: {type(error).__name__}: {error}")
    if not bad:
        print("ok")


main()
