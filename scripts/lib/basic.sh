# shellcheck shell=bash
# Tests of the composed stack, with the real CLI and the scripted model, through every interface. Sourced by scripts/test.

# seen SECONDS NAME CHECK: runs a check of the running stack; when it fails, prints the end of the containers' logs.
seen() {
  check "$1" "$2" scripts/lib/basic-check "$3" ||
    limited 60 scripts/lib/basic-check logs | tail -n 60 | printable | sed 's/^/        /'
}

basic() {
  check 300 "Docker Compose and buildx" scripts/compose-tools || return
  check 60 "the scripts read .env as Compose does" scripts/lib/settings-check
  check 60 "the repository of a linked worktree is mounted" scripts/lib/git-check
  seen 60 "compose files are valid" compose_files
  composed_up || return
  check 60 "second up --demo" scripts/up --demo
  seen 60 "every setting of the services is in compose.yaml and in the documentation" settings_are_all_there
  seen 60 "ccb doctor finds no fault" doctor_is_content
  seen 60 "containers: not root, read-only, no capabilities, init, health, loopback ports" containers_are_closed
  seen 60 "credentials: a user of its own, no shell, no capabilities, memory that cannot be read" credentials_is_closed
  seen 300 "the images have no credential of the shell that built them" images_have_no_credential
  seen 60 "scripts/up hands over volumes that another user owns" volumes_are_handed_over
  seen 90 "scripts/ccb exec: RESULT:::168, exit code 0" ccb_says_168
  seen 60 "the CLI's own transcript shows the tool call" transcript_shows_the_tool
  seen 90 "scripts/ccb exec: the prompt from stdin" ccb_reads_stdin
  seen 90 "scripts/ccb exec: an interrupt cancels, exit code 130" ccb_interrupt_cancels
  seen 180 "scripts/ccb exec survives a bridge that is replaced, and one that is restarted" ccb_survives_a_new_bridge
  seen 180 "Python websockets on /ws and /ws/mcp" python_websockets
  seen 120 "the Python example in the README" readme_python
  seen 90 "curl -N on claude-api" curl_streams
  seen 90 "ccb doctor --url checks only the stack at that address" doctor_of_another_stack
  seen 180 "ccb doctor names a service that is paused, or has ended" doctor_sees_what_is_wrong
  shared_suite basic 600
}
