# shellcheck shell=bash
# Facts that `ccb doctor` cannot see from inside a container: the engine, the containers, the ports, the disk. Sourced,
# never run.

FACTS='' bridge=''
# fact LEVEL NAME MESSAGE [REMEDY]: adds a fact of level ok, warn or fail. ccb reads the facts from CCB_DOCTOR_FACTS.
fact() { FACTS+="$1"$'\t'"$2"$'\t'"$3"$'\t'"${4:-}"$'\n'; }

# wants_doctor ARGS...: succeeds when `doctor` is the command, after any options, and no option asks for help.
wants_doctor() {
  local word found=1
  while [ $# -gt 0 ]; do
    word=$1
    shift
    case $word in
      -h | --help | help) return 1 ;;
      --url | --reconnect-for | --claude-api | --token-file | --ca) shift || true ;;
      -*) ;;
      doctor) found=0 ;;
      *) [ "$found" -eq 0 ] || return 1 ;;
    esac
  done
  return "$found"
}

# doctor ARGS...: gathers the facts, passes them to ccb where one can run, and ends this program.
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

# stack_facts: gathers the engine's facts about this project; sets bridge to the bridge's running container.
stack_facts() {
  engine_facts
  [ "$(docker_state)" = there ] || return 0
  container_facts credentials
  container_facts claude-api "$HTTP_PORT" 8002
  container_facts bridge "$WS_PORT" 8003
  # Only scripts/up --tls and --observability start these.
  ! made_for tls-proxy || container_facts tls-proxy "${CCB_TLS_PORT:-8443}" 8443
  ! made_for prometheus || container_facts prometheus "${CCB_PROMETHEUS_PORT:-9090}" 9090
  demo_fact
  credential_fact
  disk_facts
  bridge=$(container_of bridge)
}

# made_for SERVICE: succeeds when the project has a container of the service, running or not.
made_for() {
  [ -n "$(docker ps -aq --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1")" ]
}

# claude_api_url: prints the address at which ccb, in the network of way_to_bridge, reaches claude-api, or nothing. The
# report shows this address.
claude_api_url() {
  local NETWORK api at
  # shellcheck disable=SC2034 # way_to_bridge sets it
  local WS_URL
  way_to_bridge "$bridge"
  [ "$NETWORK" = host ] || { echo http://claude-api:8002; return 0; }
  api=$(container_of claude-api)
  # For a claude-api that does not run: the address at which it would be published.
  if [ -z "$api" ]; then
    at=$(reached_at "$PUBLISH")
    case $at in *:*) at="[$at]" ;; esac
    echo "http://$at:$HTTP_PORT"
  elif at=$(published_at "$api" 8002); then echo "http://$at"; fi
}

# any_bridge: prints a running container of the bridge's image, of any project: each of them holds ccb.
any_bridge() {
  { docker ps -q --filter status=running --filter label=io.cc-bridge.image=bridge 2>/dev/null || true; } | head -n 1
}

# doctor_of_named ARGS...: checks only the stack at the named address. Its containers are those of the project that
# publishes the address.
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
  fail_with 69 "no ccb can run here to check $NAMED" "scripts/up builds the image that holds ccb"
}

engine_facts() {
  case $(docker_state) in
    there) fact ok engine "Docker $(docker version --format '{{.Server.Version}}') answers" ;;
    silent) fact fail engine "Docker is installed, but no engine answers" \
      "start it (systemctl start docker), or check that you may use it (group docker)"; return 0 ;;
    none) fact fail engine "Docker is not installed" "install it (docs.docker.com/engine/install), or use scripts/up --local"; return 0 ;;
  esac
  if docker compose version >/dev/null 2>&1; then fact ok compose "Compose $(docker compose version --short)"
  else fact warn compose "Docker Compose v2 is missing" "scripts/compose-tools installs it for you"; fi
}

# container_facts SERVICE [PORT INNER]: adds the container's state and health, and whether this machine reaches its port.
container_facts() {
  local id state health restarts killed current used
  id=$(docker ps -aq --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1" | head -n 1)
  if [ -z "$id" ]; then
    fact fail "container $1" "project $PROJECT has none" "start it: scripts/up"
    if [ -n "${2:-}" ] && used=$(port_taken "$2" "$1"); then fact warn "port $2" "in use by $used" "stop that program, or choose another port (docs/operations.md)"; fi
    return 0
  fi
  read -r state health restarts killed used < <(docker inspect -f \
    '{{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}} {{.RestartCount}} {{.State.OOMKilled}} {{.Image}}' "$id")
  case $state-$health in
    running-healthy) fact ok "container $1" "running, healthy, restarted $restarts times" ;;
    running-starting) fact warn "container $1" "still starting" "wait a few seconds and try again" ;;
    running-*) fact fail "container $1" "running, but $health: $(health_words "$id")" "see its log: docker compose -p $PROJECT logs $1" ;;
    paused-*) fact fail "container $1" "paused" "docker compose -p $PROJECT unpause $1" ;;
    *) fact fail "container $1" "$state, exit code $(docker inspect -f '{{.State.ExitCode}}' "$id"): $(docker logs --tail 1 "$id" 2>&1 | tail -c 300 | tr '\t\n' '  ' | printable)" \
      "start it: scripts/up; see its log: docker compose -p $PROJECT logs $1" ;;
  esac
  if [ "$killed" = true ]; then fact warn "memory of $1" "the kernel killed a process for lack of memory" "raise CCB_MEMORY (or CCB_BRIDGE_MEMORY, CCB_CREDENTIALS_MEMORY) and run scripts/up"; fi
  # By the container's own image name: compose.override.yaml may set another one.
  current=$(docker image inspect -f '{{.Id}}' "$(docker inspect -f '{{.Config.Image}}' "$id")" 2>/dev/null || true)
  if [ -n "$current" ] && [ "$current" != "$used" ]; then
    fact warn "image of $1" "the running container uses an older image than the newest build" "scripts/up starts the new one, which interrupts running executions"
  fi
  [ -z "${3:-}" ] || published_facts "$1" "$id" "$3"
}

published_facts() {
  local address
  address=$(docker port "$2" "$3" 2>/dev/null | head -n 1 || true)
  if [ -z "$address" ]; then [ "$(docker inspect -f '{{.State.Running}}' "$2")" != true ] || fact warn "port of $1" "not published on this machine, so programs here cannot reach it" "see ports in compose.yaml"
  elif tcp_answers "${address##*:}" "${address%:*}"; then
    case $address in
      127.* | '[::1]:'*) fact ok "port of $1" "$address" ;;
      *) open_port_fact "$1" "$address" ;;
    esac
  else fact fail "port of $1" "$address is published but does not answer" "check whether the engine is on another machine (DOCKER_HOST), or a firewall blocks the port"; fi
}

# open_port_fact SERVICE ADDRESS: adds what protects a port that other machines reach.
open_port_fact() {
  if [ "$1" = tls-proxy ]; then fact ok "port of $1" "$2 is open to other machines, with TLS and for holders of a token"
  elif docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' "$(container_of claude-api)" 2>/dev/null | grep -q '^CLAUDE_API_TOKENS_FILE=.'; then
    fact warn "port of $1" "$2 is open to other machines without TLS: tokens and prompts can be read on the way" \
      "use scripts/up --tls, and leave CCB_PUBLISH at 127.0.0.1"
  else
    fact warn "port of $1" "$2 is open to other machines, and anybody who reaches it may run prompts" \
      "leave CCB_PUBLISH at 127.0.0.1, and use scripts/up --tls for other machines"
  fi
}

# health_words ID: prints the last answer of the container's healthcheck.
health_words() { docker inspect -f '{{with .State.Health}}{{range .Log}}{{.Output}}{{end}}{{end}}' "$1" | tail -n 1 | tail -c 300 | tr '\t' ' ' | printable; }

demo_fact() {
  [ -z "$(container_of scripted-model)" ] ||
    fact warn demo "the model is a script and understands nothing" "for the real model, set a credential (docs/operations.md) and run scripts/up"
}

# credential_fact: adds where the credential of the model is, by the environment of the running claude-api.
credential_fact() {
  local api
  api=$(container_of claude-api)
  [ -n "$api" ] || return 0
  if docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' "$api" 2>/dev/null | grep -q '^CLAUDE_API_CREDENTIALS_URL=.'; then
    fact ok "place of the credential" "the container credentials, which the tools cannot read; the CLI's own login would be in claude-api"
  else fact warn "place of the credential" "the tools' environment" "unset CCB_CREDENTIAL_IN_BOX and run scripts/up"; fi
}

# Free space where Docker keeps images and volumes, as a container sees it.
disk_facts() {
  local api free
  api=$(container_of claude-api)
  [ -n "$api" ] || return 0
  # A container that is about to end gives no answer, and no fact.
  free=$(timeout 10 docker exec "$api" df -Pk /spool 2>/dev/null | awk 'NR == 2 { print int($4 / 1024) }') || free=''
  [ -n "$free" ] || return 0
  if [ "$free" -lt 2048 ]; then fact warn disk "$free MB left for executions and workspaces" "free some space, or lower CLAUDE_API_RETENTION_BYTES"
  else fact ok disk "$((free / 1024)) GB left for executions and workspaces"; fi
}

local_facts() {
  local tools=unsandboxed
  ! local_sandboxed || tools=sandboxed
  fact warn local "both services run without containers: the CLI's tools run $tools, as $(id -un)" "in containers: scripts/down, then scripts/up without --local"
  local_running claude-api || fact fail "process claude-api" "not running" "see its log: $RUN/claude-api.log; start it: scripts/up --local"
  local free
  free=$(df -Pk "$RUN" | awk 'NR == 2 { print int($4 / 1024) }')
  if [ "$free" -lt 2048 ]; then fact warn disk "$free MB left in $RUN" "free some space"; else fact ok disk "$((free / 1024)) GB left"; fi
}

# facts_only ARGS...: prints the report of ccb doctor where no ccb can run.
facts_only() {
  local level name message remedy json=''
  case " $* " in *" --json "*) json=1 ;; esac
  fact fail bridge "not running" "start it: scripts/up"
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
