# shellcheck shell=bash
# What `ccb doctor` cannot see from inside a container: the engine, the containers, the ports, the disk. Sourced, never run.

FACTS='' bridge=''
# fact LEVEL NAME MESSAGE [REMEDY]: level ok, warn or fail. ccb reads them from CCB_DOCTOR_FACTS.
fact() { FACTS+="$1"$'\t'"$2"$'\t'"$3"$'\t'"${4:-}"$'\n'; }

# wants_doctor ARGS...: is `doctor` the command, whatever options stand before it, and is no help wanted?
wants_doctor() {
  local word found=1
  while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
      -h | --help | help) return 1 ;;
      --url | --reconnect-for | --claude-api) shift || true ;;
      -*) ;;
      doctor) found=0 ;;
      *) [ "$found" -eq 0 ] || return 1 ;;
    esac
  done
  return "$found"
}

# doctor ARGS...: gathers the facts, and hands them to ccb where one can run; ends this program.
doctor() {
  local release=$ROOT/target/release/ccb
  if [ -n "$NAMED" ]; then doctor_of_named "$@"; fi
  if local_running bridge; then
    local_facts
    export CCB_DOCTOR_FACTS=$FACTS CCB_URL=${CCB_URL:-ws://127.0.0.1:$WS_PORT/ws} CCB_CLAUDE_API_URL=http://127.0.0.1:$HTTP_PORT
    exec "$release" "$@"
  fi
  stack_facts
  if [ -n "$bridge" ]; then
    CCB_CLAUDE_API_URL=$(claude_api_url)
    export CCB_DOCTOR_FACTS=$FACTS CCB_CLAUDE_API_URL
    [ -n "$CCB_CLAUDE_API_URL" ] || unset CCB_CLAUDE_API_URL
    ccb_inside "$bridge" "$@"
  fi
  facts_only "$@"
}

# stack_facts: what the engine says of this project; sets bridge to the running container of that service.
stack_facts() {
  engine_facts
  [ "$(docker_state)" = there ] || return 0
  container_facts claude-api "$HTTP_PORT" 8002
  container_facts bridge "$WS_PORT" 8003
  demo_fact
  disk_facts
  bridge=$(container_of bridge)
}

# claude_api_url: where ccb, in the network that way_to_bridge chooses, reaches claude-api; nothing where it does not. The
# report shows it.
claude_api_url() {
  local NETWORK api at
  # shellcheck disable=SC2034 # way_to_bridge sets it
  local WS_URL
  way_to_bridge "$bridge"
  [ "$NETWORK" = host ] || { echo http://claude-api:8002; return 0; }
  api=$(container_of claude-api)
  # One that does not run is looked for where it would be published.
  if [ -z "$api" ]; then
    at=$(reached_at "$PUBLISH")
    case $at in *:*) at="[$at]" ;; esac
    echo "http://$at:$HTTP_PORT"
  elif at=$(published_at "$api" 8002); then echo "http://$at"; fi
}

# any_bridge: a running container of the bridge's image, whatever its project: ccb is in each.
any_bridge() {
  { docker ps -q --filter status=running --filter label=io.cc-bridge.image=bridge 2>/dev/null || true; } | head -n 1
}

# doctor_of_named ARGS...: checks the stack at the named address, and no other. Its containers are
# those of the project that publishes the address.
doctor_of_named() {
  local port
  if [ "$(docker_state)" = there ] && PROJECT=$(project_at "$NAMED"); then
    stack_facts
    port=$(docker port "$(container_of claude-api)" 8002 2>/dev/null | head -n 1 || true)
    [ -z "$port" ] || CCB_CLAUDE_API_URL=${CCB_CLAUDE_API_URL:-http://127.0.0.1:${port##*:}}
  elif local_running bridge && [ "${NAMED#*:"$WS_PORT"}" != "$NAMED" ]; then
    local_facts
    CCB_CLAUDE_API_URL=${CCB_CLAUDE_API_URL:-http://127.0.0.1:$HTTP_PORT}
  fi
  export CCB_DOCTOR_FACTS=$FACTS CCB_URL=$NAMED
  [ -z "${CCB_CLAUDE_API_URL:-}" ] || export CCB_CLAUDE_API_URL
  [ -n "$bridge" ] || bridge=$(any_bridge)
  if [ -n "$bridge" ]; then ccb_inside "$bridge" "$@"; fi
  [ ! -x "$ROOT/target/release/ccb" ] || exec "$ROOT/target/release/ccb" "$@"
  fail_with 69 "no ccb can run here to look at $NAMED" "scripts/up makes the image that holds it"
}

engine_facts() {
  case $(docker_state) in
    there) fact ok engine "Docker $(docker version --format '{{.Server.Version}}') answers" ;;
    silent) fact fail engine "Docker is installed, but no engine answers" \
      "start it (systemctl start docker), or see that you may use it (group docker)"; return 0 ;;
    none) fact fail engine "Docker is not installed" "install it (docs.docker.com/engine/install), or use scripts/up --local"; return 0 ;;
  esac
  if docker compose version >/dev/null 2>&1; then fact ok compose "Compose $(docker compose version --short)"
  else fact warn compose "Docker Compose v2 is missing" "scripts/compose-tools installs it for you"; fi
}

# container_facts SERVICE PORT INNER: its state and health, and whether its port is reached from here.
container_facts() {
  local id state health restarts killed current used
  id=$(docker ps -aq --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1" | head -n 1)
  if [ -z "$id" ]; then
    fact fail "container $1" "there is none in project $PROJECT" "start it: scripts/up"
    if used=$(port_taken "$2" "$1"); then fact warn "port $2" "in use by $used" "stop that, or choose another port, see docs/operations.md"; fi
    return 0
  fi
  read -r state health restarts killed used < <(docker inspect -f \
    '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.State.OOMKilled}} {{.Image}}' "$id")
  case $state-$health in
    running-healthy) fact ok "container $1" "running, healthy, restarted $restarts times" ;;
    running-starting) fact warn "container $1" "still starting" "wait a few seconds and ask again" ;;
    running-*) fact fail "container $1" "running, but $health: $(health_words "$id")" "its log: docker compose -p $PROJECT logs $1" ;;
    paused-*) fact fail "container $1" "paused" "docker compose -p $PROJECT unpause $1" ;;
    *) fact fail "container $1" "$state, exit code $(docker inspect -f '{{.State.ExitCode}}' "$id"): $(docker logs --tail 1 "$id" 2>&1 | tail -c 300 | tr '\t\n' '  ' | printable)" \
      "start it: scripts/up; its log: docker compose -p $PROJECT logs $1" ;;
  esac
  if [ "$killed" = true ]; then fact warn "memory of $1" "the kernel ended a process of it for want of memory" "raise CCB_MEMORY (or CCB_BRIDGE_MEMORY) and scripts/up"; fi
  # Its own image's name: compose.override.yaml may give another one.
  current=$(docker image inspect -f '{{.Id}}' "$(docker inspect -f '{{.Config.Image}}' "$id")" 2>/dev/null || true)
  if [ -n "$current" ] && [ "$current" != "$used" ]; then
    fact warn "image of $1" "a newer one was built than the one that runs" "scripts/up starts it; what runs then is interrupted"
  fi
  published_facts "$1" "$id" "$3"
}

published_facts() {
  local address
  address=$(docker port "$2" "$3" 2>/dev/null | head -n 1 || true)
  if [ -z "$address" ]; then [ "$(docker inspect -f '{{.State.Running}}' "$2")" != true ] || fact warn "port of $1" "it is not published on this machine" "programs on this machine cannot reach it: see ports in compose.yaml"
  elif tcp_answers "${address##*:}" "${address%:*}"; then
    case $address in
      127.* | '[::1]:'*) fact ok "port of $1" "$address" ;;
      *) fact warn "port of $1" "$address is open to other machines, and whoever reaches it may run prompts" \
        "leave CCB_PUBLISH at 127.0.0.1, unless a firewall decides who reaches it" ;;
    esac
  else fact fail "port of $1" "$address does not answer, though it is published" "is the engine on another machine (DOCKER_HOST), or a firewall between?"; fi
}

# The last answer of its healthcheck.
health_words() { docker inspect -f '{{with .State.Health}}{{range .Log}}{{.Output}}{{end}}{{end}}' "$1" | tail -n 1 | tail -c 300 | tr '\t' ' ' | printable; }

demo_fact() {
  [ -z "$(container_of scripted-model)" ] ||
    fact warn demo "the model is a script: nothing is understood" "for the real one give a credential, see docs/operations.md, and scripts/up"
}

# Room where Docker keeps images and volumes, as a container sees it.
disk_facts() {
  local api free
  api=$(container_of claude-api)
  [ -n "$api" ] || return 0
  # It may be about to end: then there is nothing to be said of it.
  free=$(timeout 10 docker exec "$api" df -Pk /spool 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }') || free=''
  [ -n "$free" ] || return 0
  if [ "$free" -lt 2048 ]; then fact warn disk "$free MB left for executions and workspaces" "free some, or lower CLAUDE_API_RETENTION_BYTES"
  else fact ok disk "$((free / 1024)) GB left for executions and workspaces"; fi
}

local_facts() {
  local tools=unsandboxed
  ! local_sandboxed || tools=sandboxed
  fact warn local "both services run without containers: the CLI's tools run $tools, as $(id -un)" "in containers: scripts/down, then scripts/up without --local"
  local_running claude-api || fact fail "process claude-api" "it does not run" "its log: $RUN/claude-api.log; start it: scripts/up --local"
  local free
  free=$(df -Pk "$RUN" | awk 'NR == 2 { print int($4 / 1024) }')
  if [ "$free" -lt 2048 ]; then fact warn disk "$free MB left in $RUN" "free some"; else fact ok disk "$((free / 1024)) GB left"; fi
}

# Where no ccb can run: the same lines from here.
facts_only() {
  local level name message remedy json=''
  case " $* " in *" --json "*) json=1 ;; esac
  fact fail bridge "it does not run" "scripts/up"
  if [ -n "$json" ]; then
    need_command python3 python3
    printf '%s' "$FACTS" | python3 -c 'import json, sys
keys = ("level", "name", "message", "remedy")
checks = [dict(zip(keys, [f or None for f in line.rstrip("\n").split("\t")])) for line in sys.stdin]
print(json.dumps({"ok": False, "checks": checks, "versions": {}, "limits": None}))'
  else
    while IFS=$'\t' read -r level name message remedy; do
      [ "$level" != fail ] || level=FAIL
      printf '%-4s  %s: %s\n' "$level" "$name" "$message"
      [ -z "$remedy" ] || printf '      to do: %s\n' "$remedy"
    done <<<"${FACTS%$'\n'}"
    echo "a prompt would not run: fix the problems marked FAIL"
  fi
  exit 69
}
