# shellcheck shell=bash
# The checks of `ccb doctor` against the composed stack. Sourced by basic-check.

doctor_is_content() {
  "$ROOT/scripts/ccb" doctor || fail "ccb doctor ended with code $?"
  "$ROOT/scripts/ccb" doctor --json | python3 -c 'import json, sys
report = json.load(sys.stdin)
assert report["ok"] and report["limits"]["runningExecutions"] > 0, report
names = {check["name"] for check in report["checks"]}
assert {"engine", "container bridge", "bridge", "ready", "claude-api"} <= names, names'
}

# doctor_finds CODE WORDS: checks the exit code of ccb doctor, and that a line of its report begins with the words.
doctor_finds() {
  local code=0 said
  said=$("$ROOT/scripts/ccb" doctor 2>&1) || code=$?
  [ "$code" -eq "$1" ] || fail "exit code $code, not $1: $said"
  grep -q "^$2" <<<"$said" || fail "no line $2: $said"
}

# The exit code of ccb doctor is 0 only when a prompt would run.
doctor_sees_what_is_wrong() {
  local id service
  for service in claude-api bridge; do
    id=$(container_of $service)
    docker pause "$id" >/dev/null
    trap 'docker unpause "$id" >/dev/null' EXIT
    doctor_finds 69 "FAIL  container $service: paused"
    docker unpause "$id" >/dev/null
    trap 'rm -f "$REPORT_FILE"' EXIT
    doctor_is_content_again
  done
  id=$(container_of claude-api)
  docker stop -t 5 "$id" >/dev/null
  trap 'docker start "$id" >/dev/null' EXIT
  doctor_finds 69 "FAIL  container claude-api: exited"
  docker start "$id" >/dev/null
  trap 'rm -f "$REPORT_FILE"' EXIT
  doctor_is_content_again
}

# ccb runs from another project, whose own stack does not run.
doctor_of_another_stack() {
  local said code=0
  said=$(CCB_PROJECT=$PROJECT-none CCB_CLAUDE_API_PORT=1 CCB_BRIDGE_PORT=1 "$ROOT/scripts/ccb" doctor --url "${CCB_WS:?}") || code=$?
  same "exit code" 0 "$code"
  grep -q "^ok    claude-api: http://127.0.0.1:${CCB_HTTP##*:} " <<<"$said" || fail "doctor does not check the claude-api port of that stack: $said"
  grep -q "^ok    container claude-api: " <<<"$said" || fail "no containers of that stack: $said"
  said=$(CCB_PROJECT=$PROJECT-none "$ROOT/scripts/ccb" --url "${CCB_WS:?}" list) || fail "ccb --url does not reach the stack: $said"
  code=0
  said=$("$ROOT/scripts/ccb" doctor --url ws://127.0.0.1:1/ws) || code=$?
  same "exit code where nothing answers" 69 "$code"
  if grep -q 'container' <<<"$said"; then fail "containers of another stack: $said"; fi
}

doctor_is_content_again() {
  for _ in $(seq 100); do
    if "$ROOT/scripts/ccb" doctor >/dev/null 2>&1; then return 0; fi
    sleep 0.2
  done
  fail "doctor still reports a fault: $("$ROOT/scripts/ccb" doctor 2>&1)"
}
