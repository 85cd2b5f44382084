# shellcheck shell=bash
# The composed stack with the real CLI and the scripted model, seen through every door. Sourced by scripts/test.

basic() {
  # A project and ports of their own, so that a stack that is up stays as it is.
  CCB_PROJECT=cc-bridge-test-$$
  read -r CCB_CLAUDE_API_PORT CCB_BRIDGE_PORT < <(python3 -c 'import socket
a, b = socket.socket(), socket.socket()
a.bind(("127.0.0.1", 0)); b.bind(("127.0.0.1", 0))
print(a.getsockname()[1], b.getsockname()[1])')
  export CCB_PROJECT CCB_CLAUDE_API_PORT CCB_BRIDGE_PORT
  export CCB_WS=ws://127.0.0.1:$CCB_BRIDGE_PORT/ws CCB_HTTP=http://127.0.0.1:$CCB_CLAUDE_API_PORT
  unset CCB_WORKSPACE CCB_CLI_HOME
  trap 'scripts/down >/dev/null 2>&1; rm -rf "$REPORT"' EXIT
  trap 'exit 130' INT TERM
  need_command curl curl

  local see=scripts/lib/basic-check
  check 60 "compose files are valid" $see compose_files
  check 4800 "up --demo" scripts/up --demo || return
  check 60 "second up --demo" scripts/up --demo
  check 60 "containers: not root, read-only, no capabilities, init, health, loopback ports" $see containers_are_closed
  check 90 "scripts/ccb exec: RESULT:::168, exit code 0" $see ccb_says_168
  check 60 "the CLI's own transcript shows the tool call" $see transcript_shows_the_tool
  check 90 "scripts/ccb exec: the prompt from stdin" $see ccb_reads_stdin
  check 90 "scripts/ccb exec: an interrupt cancels, exit code 130" $see ccb_interrupt_cancels
  check 180 "Python websockets on /ws and /ws/mcp" $see python_websockets
  check 90 "curl -N on claude-api" $see curl_streams
  cargo_tests 1500 --package cc-tests --features composed --test composed
  check 180 "down" scripts/down
  check 60 "down leaves no container, network or volume" $see nothing_is_left
}
