# shellcheck shell=bash
# The composed stack: is Docker there, is a credential there, compose with our files. Sourced, never run.

# docker_state: there, silent (installed, but no engine answers) or none.
docker_state() {
  if ! have docker; then echo none
  elif timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then echo there
  else echo silent; fi
}

# compose ARGS...: with the project's name and, in a demo, the scripted model.
compose() {
  local files=(-f "$ROOT/compose.yaml")
  [ "${DEMO:-}" != 1 ] || files+=(-f "$ROOT/compose.demo.yaml")
  docker compose --project-directory "$ROOT" -p "$PROJECT" "${files[@]}" "$@"
}

# The same for `step`, which needs words it can run.
compose_words() {
  COMPOSE=(docker compose --project-directory "$ROOT" -p "$PROJECT" -f "$ROOT/compose.yaml")
  [ "${DEMO:-}" != 1 ] || COMPOSE+=(-f "$ROOT/compose.demo.yaml")
}

# Set in the shell or in .env; set but empty counts: it means the CLI's own login.
credential_set() {
  local name
  for name in ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN; do
    if [ -n "${!name+set}" ]; then return 0; fi
    if grep -qsE "^[[:space:]]*(export[[:space:]]+)?$name=" "$ROOT/.env"; then return 0; fi
  done
  return 1
}

# A login of the CLI: in a folder that will be mounted as its home, or kept in the project's volume from before.
login_mounted() {
  local volume=${PROJECT}_cli-home
  if [ -n "${CCB_CLI_HOME:-}" ]; then [ -s "$CCB_CLI_HOME/.claude/.credentials.json" ]; return; fi
  docker volume inspect "$volume" >/dev/null 2>&1 && docker image inspect cc-bridge/claude-api:local >/dev/null 2>&1 || return 1
  timeout 30 docker run --rm --network none --entrypoint test -v "$volume:/home/claude:ro" cc-bridge/claude-api:local \
    -s /home/claude/.claude/.credentials.json
}

# What .env says, for processes that Compose does not start; the shell wins.
env_file() {
  local line name
  while IFS= read -r line; do
    name=${line%%=*} name=${name#export }
    case $name in ANTHROPIC_* | CLAUDE_* | BRIDGE_* | CCB_* | HTTP_PROXY | HTTPS_PROXY | NO_PROXY) ;; *) continue ;; esac
    line=${line#*=} line=${line%\"} line=${line#\"} line=${line%\'} line=${line#\'}
    if [ -z "${!name+set}" ]; then export "$name=$line"; fi
  done < <(grep -sE '^(export )?[A-Z_]+=' "$ROOT/.env" || true)
}

# The ids that the containers run with: the caller's, so that files belong to the caller; never root's.
caller_ids() {
  local uid gid
  uid=$(id -u) gid=$(id -g)
  if [ "$uid" = 0 ]; then uid=10001 gid=10001; fi
  export CCB_UID=${CCB_UID:-$uid} CCB_GID=${CCB_GID:-$gid}
}

# Volumes of an earlier stack may belong to another user: hand them over once, when the ids have changed.
hand_over_volumes() {
  local before names volume mounts=()
  before=$(cat "$STATE/ids" 2>/dev/null || true)
  names=$(docker volume ls -q --filter "label=com.docker.compose.project=$PROJECT")
  if [ -n "$names" ] && [ "$before" != "$CCB_UID:$CCB_GID" ]; then
    for volume in $names; do mounts+=(-v "$volume:/v/$volume"); done
    step 120 "hand the volumes over to $CCB_UID:$CCB_GID" docker run --rm --network none -u 0 --entrypoint sh "${mounts[@]}" \
      cc-bridge/claude-api:local -c "find /v -mindepth 2 -exec chown -h $CCB_UID:$CCB_GID {} +" ||
      fail "the volumes could not be given to $CCB_UID:$CCB_GID" "scripts/down removes them, with all that is in them"
  fi
  mkdir -p "$STATE" && echo "$CCB_UID:$CCB_GID" >"$STATE/ids"
}

# What the machine's link carries, if that is less than Docker's default of 1500.
link_mtu() {
  local device mtu
  device=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route 2>/dev/null || true)
  mtu=$(cat "/sys/class/net/${device:-none}/mtu" 2>/dev/null || echo 1500)
  if [ "$mtu" -lt 1500 ]; then echo "$mtu"; else echo 1500; fi
}

# What /health/ready says, as text; code 0 only when it is ready.
ready_answer() {
  compose exec -T claude-api curl -sS --max-time 5 --fail-with-body http://127.0.0.1:8002/health/ready 2>/dev/null
}

demo_banner() {
  say "==============================================================================="
  say "  DEMO: the CLI is real, the model is a SCRIPT. No account is used, nothing is"
  say "  understood: a prompt that is Python code is run, others are answered by rote."
  say "  For the real model: set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN) and run"
  say "  scripts/up again. Set but empty means: the CLI's own login."
  say "==============================================================================="
  [ -z "${ANTHROPIC_BASE_URL:-}" ] || warn "ANTHROPIC_BASE_URL is set and not used in the demo"
}
