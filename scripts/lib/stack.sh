# shellcheck shell=bash
# The composed stack: is Docker there, is a credential there, compose with our files. Sourced, never run.

IMAGE=${CCB_IMAGES:-cc-bridge}/claude-api:${CCB_TAG:-local}

# docker_state: there, silent (installed, but no engine answers) or none.
docker_state() {
  if ! have docker; then echo none
  elif timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then echo there
  else echo silent; fi
}

# The files: ours, in a demo the scripted model, and what is particular to this machine.
compose_words() {
  local override=${CCB_OVERRIDE-$ROOT/compose.override.yaml}
  COMPOSE=(docker compose --project-directory "$ROOT" -p "$PROJECT" -f "$ROOT/compose.yaml")
  # The tests know nothing of this machine's account.
  [ "${CCB_ENV_FILE:-}" != none ] || COMPOSE+=(--env-file /dev/null)
  if [ -n "$override" ] && [ -f "$override" ]; then COMPOSE+=(-f "$override"); fi
  [ "${DEMO:-}" != 1 ] || COMPOSE+=(-f "$ROOT/compose.demo.yaml")
  [ ! -f "$STATE/git.yaml" ] || COMPOSE+=(-f "$STATE/git.yaml")
}

# git_file: writes the mounts that git needs beside the workspace to a Compose file of its own, for
# compose_words.
git_file() {
  local mounts
  mkdir -p "$STATE"
  mounts=$(git_mounts) || exit 1
  if [ -n "$mounts" ]; then printf '%s\n' "$mounts" >"$STATE/git.yaml"; else rm -f "$STATE/git.yaml"; fi
}

# git_mounts: prints a Compose file that mounts the target of CCB_WORKSPACE's .git at the same path,
# or nothing when all of it lies in the folder. A linked worktree (git worktree add) has a .git file
# that names the repository, and the repository names the worktree. Objects that a clone borrows
# (git clone --shared) are mounted read-only.
git_mounts() {
  local folder=${CCB_WORKSPACE:-} pointer='' common shared line paths=()
  [ -n "$folder" ] && [ -e "$folder/.git" ] || return 0
  folder=$(cd "$folder" && pwd)
  [ ! -f "$folder/.git" ] || pointer=$(head -n 1 "$folder/.git")
  case $pointer in
    '' | 'gitdir: /'*) ;;
    *) fail "$folder/.git points to a relative path, which leads nowhere in the container ($pointer)" \
      "a submodule: take the repository around it as the workspace" \
      "a worktree with relative paths: git -C '$folder' config worktree.useRelativePaths false; git -C '$folder' worktree repair" ;;
  esac
  common=$folder/.git
  if [ -n "$pointer" ]; then
    have git || fail "$folder is a linked git worktree, and only git knows what belongs to it" "install git, or take the repository itself as the workspace"
    common=$(git -c safe.directory='*' -C "$folder" rev-parse --path-format=absolute --git-common-dir 2>&1) && [ -d "$common" ] ||
      fail "$folder/.git points to a repository that is not there: $common" "git worktree repair '$folder', from the repository it belongs to"
    paths=("$common:false" "$folder:false")
  fi
  while IFS= read -r shared; do
    case $shared in /*) [ ! -d "$shared" ] || paths+=("$shared:true") ;; esac
  done < <(cat "$common/objects/info/alternates" 2>/dev/null || true)
  [ ${#paths[@]} -gt 0 ] || return 0
  # Executions run behind walls: what is mounted must be opened to them, beside what the operator opened.
  printf 'services:\n  claude-api:\n    environment:\n'
  pointer=$(printf ',%s' "${paths[@]%:*}" | sed 's/[\\"]/\\&/g; s/[$]/$$/g')
  printf '      CLAUDE_API_WALLS_OPEN: "${CLAUDE_API_WALLS_OPEN:+$CLAUDE_API_WALLS_OPEN,}%s"\n    volumes:\n' "${pointer#,}"
  for line in "${paths[@]}"; do
    pointer=$(sed 's/[\\"]/\\&/g; s/[$]/$$/g' <<<"${line%:*}")
    printf '      - {type: bind, source: "%s", target: "%s", read_only: %s}\n' "$pointer" "$pointer" "${line##*:}"
  done
}

# compose ARGS...: with the project's name and files. `step` needs words it can run: there it is "${COMPOSE[@]}".
compose() {
  compose_words
  "${COMPOSE[@]}" "$@"
}

# Set in the shell or in .env, or a file of one; set but empty counts: it means the CLI's own login.
credential_set() {
  local name file
  for name in ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN; do
    file=${name}_FILE
    if [ -n "${!name+set}" ] || [ -n "${!file:-}" ]; then return 0; fi
  done
  return 1
}

# compose_path PATH: as Compose reads it: ~ is the home, and what begins with a dot lies beside compose.yaml.
compose_path() {
  # shellcheck disable=SC2088 # as it is written
  case $1 in
    '~' | '~/'*) printf '%s' "$HOME${1#\~}" ;;
    ./* | ../*) printf '%s' "$ROOT/$1" ;;
    *) printf '%s' "$1" ;;
  esac
}

# Files and folders that settings name are there; their names are absolute from here on, or Compose would take
# a plain name for a volume, and the engine would make a missing folder, as root.
check_paths() {
  local name path
  for name in CCB_WORKSPACE CCB_CLI_HOME; do
    path=${!name:-}
    [ -n "$path" ] || continue
    path=$(compose_path "$path")
    [ -d "$path" ] || fail "$name is no folder: $path" "make it first, or leave $name out"
    export "$name=$(cd "$path" && pwd)"
  done
  for name in ANTHROPIC_API_KEY_FILE ANTHROPIC_AUTH_TOKEN_FILE CLAUDE_CODE_OAUTH_TOKEN_FILE; do
    path=${!name:-}
    [ -n "$path" ] || continue
    path=$(compose_path "$path")
    [ -r "$path" ] && [ -f "$path" ] || fail "$name is no file that you can read: $path"
    export "$name=$(cd "$(dirname "$path")" && pwd)/$(basename "$path")"
  done
}

# check_port_numbers NAME=PORT...: each is a number that a service can listen on, and no two are the same.
check_port_numbers() {
  local setting name port other before=()
  for setting in "$@"; do
    name=${setting%%=*} port=${setting#*=}
    [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -le 65535 ] || fail_with 64 "$name=$port is no port" "set it to a number from 1 to 65535"
    for other in ${before[@]+"${before[@]}"}; do
      [ "${other#*=}" != "$port" ] || fail_with 64 "${other%%=*} and $name are both $port" "give each a port of its own"
    done
    before+=("$setting")
  done
}

# check_compose: Compose can read our files with these settings, and the file of this machine.
check_compose() {
  local said override=${CCB_OVERRIDE-$ROOT/compose.override.yaml}
  compose_words
  said=$("${COMPOSE[@]}" config --quiet 2>&1) && return 0
  say "$(printable <<<"$said")"
  if [ -n "$override" ] && [ -f "$override" ] && CCB_OVERRIDE='' compose config --quiet >/dev/null 2>&1; then
    fail_with 64 "Docker Compose cannot read $override" \
      "put right what the lines above name; compose.override.example.yaml shows the form, and docker compose config checks it"
  fi
  fail_with 64 "Docker Compose cannot read compose.yaml with these settings" \
    "put right what the lines above name, in the shell or in .env; docs/operations.md lists the settings"
}

# port_taken PORT SERVICE: who has it, other than this project's own container; code 1 when it is free.
port_taken() {
  local other
  other=$(docker ps --filter "publish=$1" --format '{{.Names}} {{.Label "com.docker.compose.project"}}/{{.Label "com.docker.compose.service"}}' | head -n 1)
  if [ -n "$other" ]; then
    [ "${other#* }" != "$PROJECT/$2" ] || return 1
    echo "the container ${other%% *}"
  elif tcp_answers "$1"; then
    other=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/process \2 (\1)/p' | head -n 1)
    echo "${other:-another program on this machine}"
  else return 1; fi
}

# A free port, and a setting to put it in, in place of an error of the engine later on.
check_ports() {
  local setting service port who free
  for setting in CCB_CLAUDE_API_PORT:claude-api:$HTTP_PORT CCB_BRIDGE_PORT:bridge:$WS_PORT; do
    IFS=: read -r setting service port <<<"$setting"
    if who=$(port_taken "$port" "$service"); then
      free=$(free_port $((port > 64000 ? port - 1000 : port + 1000)))
      fail "port $port, which $service wants on $PUBLISH, is in use by $who" \
        "stop that, or take another port: $setting=$free scripts/up, or put $setting=$free into .env for every start"
    fi
  done
}

# free_port FROM: the first from there on that nobody listens on.
free_port() {
  local port=$1
  while [ "$port" -lt 65000 ] && tcp_answers "$port"; do port=$((port + 1)); done
  echo "$port"
}

# tcp_answers PORT [ADDRESS]: without an address, where the stack is published.
tcp_answers() { (exec 3<>"/dev/tcp/$(reached_at "${2:-$PUBLISH}")/$1") 2>/dev/null; }

# reached_at ADDRESS: where this machine reaches what is published on an address, without brackets.
reached_at() {
  case $1 in
    0.0.0.0 | '::' | '[::]') echo 127.0.0.1 ;;
    *) tr -d '[]' <<<"$1" ;;
  esac
}

# Each build leaves the image it replaces without a name, 0.6 GB at a time. Only ours, by their label; what a container
# still uses stays.
remove_old_images() {
  local image
  for image in $(docker images -q --filter dangling=true --filter label=io.cc-bridge.image); do
    docker image rm "$image" >/dev/null 2>&1 || true
  done
}

# A login of the CLI: in a folder that will be mounted as its home, or kept in the project's volume from before.
login_mounted() {
  local volume=${PROJECT}_cli-home
  if [ -n "${CCB_CLI_HOME:-}" ]; then [ -s "$CCB_CLI_HOME/.claude/.credentials.json" ]; return; fi
  docker volume inspect "$volume" >/dev/null 2>&1 && docker image inspect "$IMAGE" >/dev/null 2>&1 || return 1
  timeout 30 docker run --rm --network none --entrypoint test -v "$volume:/home/claude:ro" "$IMAGE" \
    -s /home/claude/.claude/.credentials.json
}

# check_ids: CCB_UID and CCB_GID are ids, and not root's. What root writes into the volumes, no other user can read.
check_ids() {
  [[ ${CCB_UID:-1} =~ ^[0-9]+$ ]] || fail_with 64 "CCB_UID=$CCB_UID is no number" "set it to the id of a user (id -u NAME), or leave it out"
  [[ ${CCB_UID:-1} =~ [1-9] ]] || fail_with 64 "CCB_UID=$CCB_UID would run the services, and all that the model runs, as root" \
    "set it to the id of another user, or leave it out: then it is yours, and for root the owner of CCB_WORKSPACE or 10001"
  [[ ${CCB_GID:-1} =~ ^[0-9]+$ ]] || fail_with 64 "CCB_GID=$CCB_GID is no number" "set it to the id of a group (id -g NAME), or leave it out"
}

# The ids that the containers run with: the caller's, so that files belong to the caller; never root's: for root, those
# of the folder to work on.
caller_ids() {
  local uid gid
  uid=$(id -u) gid=$(id -g)
  if [ "$uid" = 0 ] && [ -n "${CCB_WORKSPACE:-}" ]; then read -r uid gid < <(stat -c '%u %g' "$CCB_WORKSPACE"); fi
  if [ "$uid" = 0 ]; then
    uid=10001 gid=10001
    [ -z "${CCB_WORKSPACE:-}" ] || warn "$CCB_WORKSPACE belongs to root, and the services run as $uid: they can read it where all may, and not write it"
  fi
  export CCB_UID=${CCB_UID:-$uid} CCB_GID=${CCB_GID:-$gid}
}

# Volumes of an earlier stack may belong to another user: hand them over. The volumes themselves tell (not a note in
# somebody's home). What still runs as the other user is stopped first, or its last words would be in nobody's hands.
# The folder of a volume itself is right when our user may write it; otherwise it gets the image's owner and mode.
hand_over_volumes() {
  local names volume mounts=() words foreign roots inside closed
  names=$(docker volume ls -q --filter "label=com.docker.compose.project=$PROJECT")
  [ -n "$names" ] || return 0
  for volume in $names; do mounts+=(-v "$volume:/v/$volume"); done
  words=(docker run --rm --network none -u 0 --entrypoint find "${mounts[@]}" "$IMAGE" /v -mindepth 1)
  closed=('(' ! -path '/v/*/*' ! -perm -0007 ! '(' -uid "$CCB_UID" -perm -0700 ')' ')')
  # workspace/default is where another volume or folder is mounted, and root's.
  inside=('(' -path '/v/*/*' ! -path '*_workspace/default' '(' ! -uid "$CCB_UID" -o ! -gid "$CCB_GID" ')' ')')
  foreign=$(timeout 60 "${words[@]}" -maxdepth 2 '(' "${closed[@]}" -o "${inside[@]}" ')' -print -quit) ||
    fail "the volumes of project $PROJECT cannot be looked at" "scripts/down removes them, with all that is in them"
  [ -n "$foreign" ] || return 0
  step 60 "stop what runs as another user" "${COMPOSE[@]}" --progress plain stop || true
  roots=("${closed[@]}" -exec chown 0:0 '{}' + -exec chmod 1777 '{}' +)
  step 600 "hand the volumes over to $CCB_UID:$CCB_GID" "${words[@]}" "${roots[@]}" -o -path '/v/*/*' -exec chown -h "$CCB_UID:$CCB_GID" '{}' + ||
    fail "the volumes could not be given to $CCB_UID:$CCB_GID" "scripts/down removes them, with all that is in them"
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
  say "  understood: Python code that prints is run, any other prompt gets a fixed answer."
  say "  For the real model: set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN) and run"
  say "  scripts/up again. Set but empty means: the CLI's own login."
  say "==============================================================================="
  [ -z "${ANTHROPIC_BASE_URL:-}" ] || warn "ANTHROPIC_BASE_URL is set and not used in the demo"
}

# container_of SERVICE: the id of this project's running container; not of one that is paused or starts again and again.
container_of() {
  docker ps -q --filter status=running --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1" | head -n 1
}

# named_url ARGS...: the bridge's address that these words, or CCB_URL, name; nothing where the running stack is meant.
named_url() {
  local url=${CCB_URL:-}
  while [ $# -gt 0 ]; do
    case $1 in
      --url) url=${2:-}; shift ;;
      --url=*) url=${1#--url=} ;;
      --) break ;;
    esac
    shift || true
  done
  printf '%s' "$url"
}

# project_at URL: the Compose project whose bridge is published at this address of this machine; code 1 for none.
project_at() {
  local authority=${1#ws://} project
  authority=${authority%%/*}
  case $authority in 127.*:* | localhost:* | '[::1]:'*) ;; *) return 1 ;; esac
  project=$(docker ps --filter "publish=${authority##*:}" --filter label=com.docker.compose.service=bridge \
    --format '{{.Label "com.docker.compose.project"}}' 2>/dev/null | head -n 1)
  [ -n "$project" ] && printf '%s' "$project"
}

# published_at CONTAINER PORT: where this machine reaches a port of the container, as ADDRESS:PORT; code 1 when it does not.
published_at() {
  local at address
  at=$(docker port "$1" "$2" 2>/dev/null | head -n 1 || true)
  [ -n "$at" ] && tcp_answers "${at##*:}" "${at%:*}" || return 1
  address=$(reached_at "${at%:*}")
  case $address in *:*) address="[$address]" ;; esac
  printf '%s:%s' "$address" "${at##*:}"
}

# host_network_is_ours: a container with `--network host` reaches what is published on this machine. Not so in a virtual
# machine, in a user namespace of the engine, or without root.
host_network_is_ours() {
  case $(docker info --format '{{.OperatingSystem}} {{.SecurityOptions}}' 2>/dev/null) in
    '' | *Desktop* | *name=userns* | *name=rootless*) return 1 ;;
  esac
}

# network_of CONTAINER: the network that it shares with the rest of its project.
network_of() {
  docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$1" | tr ' ' '\n' |
    awk 'NF { any = $0 } /_inner$/ { inner = $0 } END { print inner == "" ? any : inner }'
}

# way_to_bridge CONTAINER: sets NETWORK and WS_URL, for ccb in a container of its own. Both survive a restart and a
# replacement of the bridge; the container's own network would not. The published address is preferred: ccb shows it, and
# it works on this machine too. Where it does not work in a container, the service's name in the project's network does.
way_to_bridge() {
  local at
  if host_network_is_ours && at=$(published_at "$1" 8003); then NETWORK=host WS_URL=ws://$at/ws
  else NETWORK=$(network_of "$1") WS_URL=ws://bridge:8003/ws; fi
}

# ccb_inside CONTAINER ARGS...: becomes ccb, in the bridge's image. `docker run`, not `docker compose exec`: only run passes
# signals on to what runs inside. It is a container of its own, so that nothing is left after it. An address that was
# named is one of this machine's network. The label tells scripts/down whose network it uses.
ccb_inside() {
  local bridge=$1 words NETWORK=host WS_URL=''
  shift
  [ -n "$(named_url "$@")" ] || way_to_bridge "$bridge"
  words=(run --rm --interactive --init --network "$NETWORK" --label "io.cc-bridge.ccb=$PROJECT"
    --user "$(docker inspect -f '{{.Config.User}}' "$bridge")"
    --read-only --cap-drop ALL --security-opt no-new-privileges --log-driver none --entrypoint ccb
    -e "CCB_URL=${CCB_URL:-${WS_URL:-ws://127.0.0.1:8003/ws}}"
    -e CCB_CLAUDE_API_URL -e CCB_DOCTOR_FACTS -e NO_COLOR -e TERM -e TZ -e RUST_LOG)
  if [ -t 0 ] && [ -t 1 ]; then words+=(--tty); fi
  exec docker "${words[@]}" "$(docker inspect -f '{{.Image}}' "$bridge")" "$@"
}
