# shellcheck shell=bash
# The composed stack with the real CLI and the scripted model, seen through every door. Sourced by scripts/test.

basic() {
  local see=scripts/lib/basic-check
  check 300 "Docker Compose and buildx" scripts/compose-tools || return
  check 60 "compose files are valid" $see compose_files
  composed_up || return
  check 60 "second up --demo" scripts/up --demo
  check 60 "every setting of the services is in compose.yaml and in the documentation" $see settings_are_all_there
  check 60 "ccb doctor is content" $see doctor_is_content
  check 60 "containers: not root, read-only, no capabilities, init, health, loopback ports" $see containers_are_closed
  check 90 "scripts/ccb exec: RESULT:::168, exit code 0" $see ccb_says_168
  check 60 "the CLI's own transcript shows the tool call" $see transcript_shows_the_tool
  check 90 "scripts/ccb exec: the prompt from stdin" $see ccb_reads_stdin
  check 90 "scripts/ccb exec: an interrupt cancels, exit code 130" $see ccb_interrupt_cancels
  check 180 "Python websockets on /ws and /ws/mcp" $see python_websockets
  check 90 "curl -N on claude-api" $see curl_streams
  suite basic 600
}
