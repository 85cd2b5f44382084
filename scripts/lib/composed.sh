# shellcheck shell=bash
# The composed stack of the tests. It has its own project and ports, so it does not touch a running stack. The first part
# that needs the stack starts it; scripts/test removes it after the last part. Sourced by scripts/test.

COMPOSED=''

# composed_up: starts the stack unless it runs already.
composed_up() {
  if [ -n "$COMPOSED" ]; then
    [ "$COMPOSED" = up ] || failed "the composed stack did not start"
    [ "$COMPOSED" = up ]
    return
  fi
  COMPOSED=failed
  CCB_PROJECT=cc-bridge-test-$$
  read -r CCB_CLAUDE_API_PORT CCB_BRIDGE_PORT < <(python3 -c 'import socket
a, b = socket.socket(), socket.socket()
a.bind(("127.0.0.1", 0)); b.bind(("127.0.0.1", 0))
print(a.getsockname()[1], b.getsockname()[1])')
  export CCB_PROJECT CCB_CLAUDE_API_PORT CCB_BRIDGE_PORT
  export CCB_WS=ws://127.0.0.1:$CCB_BRIDGE_PORT/ws CCB_HTTP=http://127.0.0.1:$CCB_CLAUDE_API_PORT
  unset CCB_WORKSPACE CCB_CLI_HOME "${!CLAUDE_API_@}" "${!BRIDGE_@}" "${!CREDENTIALS_@}" "${!CCB_CREDENTIAL@}"
  # The demo does not use this credential, and no image may have it (images_have_no_credential).
  SHELL_KEY=sk-ant-$(od -An -N16 -tx1 /dev/urandom | tr -dc '0-9a-f')
  export SHELL_KEY
  trap 'composed_gone >/dev/null 2>&1; rm -rf "$REPORT"' EXIT
  need_command curl curl
  check 4800 "up --demo" env ANTHROPIC_API_KEY="$SHELL_KEY" scripts/up --demo || return
  COMPOSED=up
}

# composed_down: removes the stack, and checks that nothing of it is left.
composed_down() {
  [ -n "$COMPOSED" ] || return 0
  COMPOSED=''
  check 180 "down" scripts/down
  check 60 "nothing of the tests is left: no container, network or volume" scripts/lib/basic-check nothing_is_left
}

# composed_gone: removes the tests' project, and the projects of single tests (cc-bridge-test-PID-...), however the tests
# ended.
composed_gone() {
  scripts/down
  remove_left "ps -a" Names "rm -fv"
  remove_left "network ls" Name "network rm"
  remove_left "volume ls" Name "volume rm -f"
}

# remove_left LIST FIELD REMOVE: removes the objects of single tests' projects that `docker LIST` shows.
remove_left() {
  local name project
  # shellcheck disable=SC2086 # the words of a command
  docker $1 --filter label=com.docker.compose.project --format "{{.$2}} {{.Label \"com.docker.compose.project\"}}" |
    while read -r name project; do
      case $project in "$CCB_PROJECT"-*) docker $3 "$name" ;; esac
    done
}

# suite NAME SECONDS: runs one module of the Rust tests, on the shared stack or with containers of its own. Its cases mostly
# wait, so more of them run in parallel than there are cores. Cases that need the whole machine take a lock.
suite() {
  composed_up || return
  # The tests' time limit must not include the compiler's time.
  if [ -z "${SUITES_BUILT:-}" ]; then
    check 1800 "build of the suites" cargo test --locked --no-run --package cc-tests --features composed --test composed || return
    SUITES_BUILT=1
  fi
  cargo_tests "$2" --package cc-tests --features composed --test composed -- --test-threads=4 "$1::"
}

# shared_suite NAME SECONDS: runs a suite on the shared stack. Afterwards the pages of metrics must agree with the tests'
# actions, which the tests record in the file that CCB_TALLY names.
shared_suite() {
  composed_up || return
  export CCB_TALLY=$REPORT/tally
  rm -f "$CCB_TALLY"
  suite "$1" "$2"
  cargo_tests 120 --package cc-tests --features composed --test composed -- --ignored counts::
  unset CCB_TALLY
}
