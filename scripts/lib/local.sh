# shellcheck shell=bash
# Runs claude-api and bridge as background processes of this machine, without containers. Sourced, never run.

LOCAL=${LOCAL:-}
RUN=$STATE/local
MODEL_PORT=${CCB_MODEL_PORT:-8004}

# Process id, start time and boot id together identify a process, so a reused id never matches. A zombie (Z) has no start
# time here.
start_time() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | awk '$1 != "Z" { print $20 }'; }
boot_id() { cat /proc/sys/kernel/random/boot_id; }

# local_running NAME: succeeds while the process that local_start started still runs. Sets PID.
local_running() {
  local began boot
  [ -s "$RUN/$1.pid" ] || return 1
  read -r PID began boot <"$RUN/$1.pid"
  [ "$boot" = "$(boot_id)" ] && [ -n "$began" ] && [ "$(start_time "$PID")" = "$began" ]
}

# local_start NAME COMMAND...: starts the command in the background, in its own session, with a log file.
local_start() {
  local name=$1
  shift
  setsid nohup "$@" >>"$RUN/$name.log" 2>&1 </dev/null &
  PID=$!
  # Not a job of this script, so the process survives the script's end and a signal to it.
  disown "$PID"
  echo "$PID $(start_time "$PID") $(boot_id)" >"$RUN/$name.pid"
}

# local_stop NAME SECONDS: sends TERM, and KILL after SECONDS.
local_stop() {
  local deadline=$((SECONDS + $2))
  if local_running "$1"; then
    say "· stop $1 (process $PID)"
    kill -TERM "$PID" 2>/dev/null || true
    while local_running "$1" && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
    if local_running "$1"; then kill -KILL "$PID" 2>/dev/null || true; fi
  fi
  rm -f "$RUN/$1.pid"
}

# Stops the bridge first: it asks its sessions to reconnect while claude-api still drains.
local_down() {
  local_stop bridge 15
  local_stop claude-api 20
  local_stop scripted-model 5
}

# local_temporary FIND_WORDS...: finds the temporary folders of executions, which claude-api names after its spool folder:
# ccb-, the CRC-32 of the folder's path without symbolic links, and more.
local_temporary() {
  local crc folder folders=()
  [ -d "$RUN/spool" ] || return 0
  # gzip ends with the CRC-32 of its input and the input's length.
  crc=$(printf '%s' "$(readlink -f "$RUN/spool")" | gzip -c | tail -c 8 | od -An -N4 -tx4 --endian=little | tr -d ' ')
  for folder in "${TMPDIR:-/tmp}" /tmp; do
    if [ -d "$folder" ] && [[ " ${folders[*]-} " != *" $folder "* ]]; then folders+=("$folder"); fi
  done
  [ ${#folders[@]} -eq 0 ] || find -H "${folders[@]}" -mindepth 1 -maxdepth 1 -type d -user "$(id -u)" -name "ccb-$crc-*" "$@"
}

# local_wait NAME SECONDS COMMAND...: waits until the command succeeds; fails with the reason when the process ended.
local_wait() {
  local name=$1 deadline=$((SECONDS + $2)) shown=$SECONDS why
  shift 2
  until "$@" >/dev/null 2>&1; do
    why=''
    if ! local_running "$name"; then why="ended at once"; elif [ "$SECONDS" -ge "$deadline" ]; then why="did not become healthy"; fi
    if [ -n "$why" ]; then
      tail -n 10 "$RUN/$name.log" >&2
      local_down
      fail "$name $why" "the lines above are the end of $RUN/$name.log" \
        "if a port is in use: set CCB_CLAUDE_API_PORT or CCB_BRIDGE_PORT"
    fi
    if [ $((SECONDS - shown)) -ge 5 ]; then shown=$SECONDS; say "  … waiting for $name"; fi
    sleep 0.2
  done
}

# local_cli: prints the path of the pinned CLI: the one in PATH, or a fetched one.
local_cli() {
  local found
  found=$(command -v claude || true)
  if [ -n "$found" ] && timeout 20 "$found" --version 2>/dev/null | grep -qF "$CLI_VERSION"; then echo "$found"
  else "$ROOT/scripts/fetch-cli"; fi
}

# is_true VALUE: succeeds for each spelling of true that the services accept.
is_true() { case ${1,,} in true | t | yes | y | on | 1) ;; *) return 1 ;; esac }

# local_sandboxed: succeeds when the running claude-api was started with the sandbox.
local_sandboxed() { [ "$(cat "$RUN/sandbox" 2>/dev/null)" = true ]; }

# The variables that the local services and the CLI read (services/claude-api/src/cli/environment.rs).
LOCAL_SETTINGS='(ANTHROPIC|BRIDGE|CLAUDE_API|CLAUDE_CODE_(DISABLE|MAX|OAUTH|USE))_.+|AWS_(REGION|BEARER_TOKEN_BEDROCK)'
LOCAL_SETTINGS+='|CCB_(BRIDGE_PORT|CLAUDE_API_PORT|WORKSPACE)|CLOUD_ML_REGION|CLAUDE_CODE_TMPDIR|GOOGLE_APPLICATION_CREDENTIALS'
LOCAL_SETTINGS+='|MAX_THINKING_TOKENS|(HTTPS?|NO|ALL)_PROXY|(https?|no|all)_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_.+|TZ|HOME'

# local_settings ENV...: prints a line "NAME SHA256" for each setting in the environment of the command ENV. Some settings
# are credentials, so this prints no values.
local_settings() {
  local line name passed=",${CLAUDE_API_PASS_ENV:-},"
  while IFS= read -r -d '' line; do
    name=${line%%=*}
    [[ $name =~ ^($LOCAL_SETTINGS)$ || $passed = *",$name,"* ]] || continue
    printf '%s %s\n' "$name" "$(printf '%s' "${line#*=}" | sha256sum | cut -d' ' -f1)"
  done < <("$@" env -0) | LC_ALL=C sort
}

# local_outdated ENV...: stops services that run with other settings, and records the settings of this start.
local_outdated() {
  local settings changed
  settings=$(local_settings "$@")
  if [ -f "$RUN/settings" ]; then
    changed=$(LC_ALL=C comm -3 "$RUN/settings" - <<<"$settings" | awk '{ print $1 }' | sort -u)
    if [ -n "$changed" ] && { local_running claude-api || local_running bridge; }; then say "· settings changed: ${changed//$'\n'/, }"; fi
    # Only the bridge reads BRIDGE_*: claude-api and its executions keep running.
    if grep -qvE '^((CCB_)?BRIDGE_.*)?$' <<<"$changed"; then local_down; elif [ -n "$changed" ]; then local_stop bridge 15; fi
  else local_down; fi
  (umask 077; printf '%s\n' "$settings" >"$RUN/settings")
  if is_true "${CLAUDE_API_SANDBOX:-}"; then echo true; else echo false; fi >"$RUN/sandbox"
}

local_up() {
  local cli release=$ROOT/target/release began=$SECONDS name env=()
  cargo_fits || fail "--local compiles the services and needs Rust $RUST_VERSION here" \
    "install it (rustup.rs), then: rustup toolchain install $RUST_VERSION" "or install Docker and use scripts/up"
  if is_true "${CLAUDE_API_SANDBOX:-}"; then say "LOCAL: no containers. The CLI's tools run sandboxed, as $(id -un); scripts/ccb doctor names what the sandbox lacks here."
  else say "LOCAL: no containers. The CLI's tools run UNSANDBOXED: what the model runs, it runs as $(id -un) on this machine."; fi
  say "LOCAL: credential in the tools' environment: there is no container for it (SECURITY.md)."
  [ -n "$DEMO" ] || credential_set || [ -s "${CLAUDE_CONFIG_DIR:-$HOME/.claude}/.credentials.json" ] || DEMO=1
  [ -z "$DEMO" ] || demo_banner
  cli=$(local_cli)
  compile
  # Both services listen on loopback only.
  PUBLISH=127.0.0.1
  mkdir -p "$RUN/spool" "$RUN/workspace" "$RUN/home"
  undo() { say "stopping what was started"; local_down; }
  # The demo has its own home and its own model.
  [ -z "$DEMO" ] || env=(HOME="$RUN/home" ANTHROPIC_BASE_URL="http://127.0.0.1:$MODEL_PORT" ANTHROPIC_API_KEY=demo NO_PROXY=127.0.0.1)
  env=(env -u CLAUDE_CONFIG_DIR ${env[@]+"${env[@]}"} CLAUDE_API_PERMISSION_MODE="${CLAUDE_API_PERMISSION_MODE:-dontAsk}"
    CLAUDE_API_ALLOWED_TOOLS="${CLAUDE_API_ALLOWED_TOOLS-Bash,Edit,Glob,Grep,NotebookEdit,Read,Task,TodoWrite,WebFetch,WebSearch,Write}")
  # A running service stays if it has these settings and is not older than its binary.
  local_outdated "${env[@]}" CCB_CLAUDE_API_PORT="$HTTP_PORT" CCB_BRIDGE_PORT="$WS_PORT" CCB_WORKSPACE="${CCB_WORKSPACE:-}" \
    CLAUDE_API_CLAUDE_BIN="$cli"
  for name in scripted-model claude-api bridge; do
    if [ -f "$RUN/$name.pid" ] && [ "$release/$name" -nt "$RUN/$name.pid" ]; then local_down; fi
  done
  say "· start, claude-api first"
  if [ -n "$DEMO" ]; then
    local_running scripted-model || local_start scripted-model "$release/scripted-model" --port "$MODEL_PORT"
    local_wait scripted-model 20 tcp_answers "$MODEL_PORT"
  fi
  local_running claude-api || local_start claude-api "${env[@]}" \
    "$release/claude-api" serve --port "$HTTP_PORT" --spool-dir "$RUN/spool" \
    --workspace-root "$RUN/workspace" ${CCB_WORKSPACE:+--default-workspace "$CCB_WORKSPACE"} --claude-bin "$cli"
  local_wait claude-api 60 "$release/claude-api" healthcheck --url "http://127.0.0.1:$HTTP_PORT/health/startup"
  local_running bridge || local_start bridge "$release/bridge" serve --port "$WS_PORT" --claude-api-url "http://127.0.0.1:$HTTP_PORT"
  local_wait bridge 30 "$release/bridge" healthcheck --url "http://127.0.0.1:$WS_PORT/health/live"
  undo() { :; }
  if "$release/claude-api" healthcheck --url "http://127.0.0.1:$HTTP_PORT/health/ready" >/dev/null 2>&1; then
    ready_words $((SECONDS - began))
  else
    warn "the services run, but are not ready for a prompt; find the reasons and remedies at:"
    say "  http://127.0.0.1:$HTTP_PORT/health/ready"
  fi
  say "logs: $RUN/*.log"
}

ready_words() {
  local at
  at=$(reached_at "$PUBLISH")
  case $at in *:*) at="[$at]" ;; esac
  say "ready after $1 s: ws://$at:$WS_PORT/ws (WebSocket) and http://$at:$HTTP_PORT (HTTP)"
  say "try a first prompt:"
  say "  scripts/ccb ${CCB_ACCESS_DIR:+--token-file FILE }exec \"python3 -c \\\"print('RESULT:::' + str(24 * 7))\\\"\""
  say "to stop the stack and remove its containers and data: scripts/down"
}
