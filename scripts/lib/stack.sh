# shellcheck shell=bash
# The composed stack: the state of Docker, credentials, ports, volumes, and Compose with our files. Sourced, never run.

IMAGE=${CCB_IMAGES:-cc-bridge}/claude-api:${CCB_TAG:-local}

# docker_state: prints there, silent (installed, but no engine answers) or none.
docker_state() {
  if ! have docker; then echo none
  elif timeout 20 docker version --format '{{.Server.Version}}' >/dev/null 2>&1; then echo there
  else echo silent; fi
}

# compose_words: sets COMPOSE to the command with the stack's files: ours, with TLS the proxy's, this machine's own, and in
# a demo the scripted model's. OBSERVABILITY=1 adds the profile with Prometheus.
compose_words() {
  local override=${CCB_OVERRIDE-$ROOT/compose.override.yaml}
  COMPOSE=(docker compose --project-directory "$ROOT" -p "$PROJECT" -f "$ROOT/compose.yaml")
  # The tests never use this machine's account.
  [ "${CCB_ENV_FILE:-}" != none ] || COMPOSE+=(--env-file /dev/null)
  [ "${TLS:-}" != 1 ] || COMPOSE+=(-f "$ROOT/compose.tls.yaml")
  if [ -n "$override" ] && [ -f "$override" ]; then COMPOSE+=(-f "$override"); fi
  [ "${DEMO:-}" != 1 ] || COMPOSE+=(-f "$ROOT/compose.demo.yaml")
  [ ! -f "$STATE/git.yaml" ] || COMPOSE+=(-f "$STATE/git.yaml")
  [ "${OBSERVABILITY:-}" != 1 ] || COMPOSE+=(--profile observability)
}

# git_file: writes the mounts that git needs beside the workspace to a Compose file of its own, for
# compose_words.
git_file() {
  local mounts
  mkdir -p "$STATE"
  rm -f "$STATE/git.yaml"
  mounts=$(git_mounts) || exit 1
  [ -z "$mounts" ] || printf '%s\n' "$mounts" >"$STATE/git.yaml"
}

# sandbox_paths: prints CLAUDE_API_SANDBOX_PATHS as Compose resolves it from the shell, .env and the files, escaped for a
# double-quoted string in a Compose file.
sandbox_paths() {
  local answer value dollar
  compose_words
  answer=$("${COMPOSE[@]}" -f - config --format json 2>&1 <<<'services: {claude-api: {environment: ["CCB__DOLLAR=$$"]}}') ||
    { say "$(printable <<<"$answer")"; fail "Docker Compose cannot read the files of this stack" "fix the mistakes that the lines above name"; }
  answer=$(sed -n '/^    "claude-api": {/,/^    }/p' <<<"$answer")
  value=$(sed -n 's/^ *"CLAUDE_API_SANDBOX_PATHS": "\(.*\)",\{0,1\}$/\1/p' <<<"$answer")
  # The escapes of JSON are valid in YAML. Some versions of Compose double each dollar in their answer.
  dollar=$(sed -n 's/^ *"CCB__DOLLAR": "\(.*\)",\{0,1\}$/\1/p' <<<"$answer")
  if [ "$dollar" = '$' ]; then value=${value//'$'/'$$'}; fi
  printf '%s' "$value"
}

# git_mounts: prints a Compose file that mounts the target of CCB_WORKSPACE's .git at the same path,
# or nothing when all of it lies in the folder. A linked worktree (git worktree add) has a .git file
# that names the repository, and the repository names the worktree. Objects that a clone borrows
# (git clone --shared) are mounted read-only.
git_mounts() {
  local folder=${CCB_WORKSPACE:-} pointer='' common shared line opened paths=()
  [ -n "$folder" ] && [ -e "$folder/.git" ] || return 0
  folder=$(cd "$folder" && pwd)
  [ ! -f "$folder/.git" ] || pointer=$(head -n 1 "$folder/.git")
  case $pointer in
    '' | 'gitdir: /'*) ;;
    *) fail "$folder/.git points to a relative path, which leads nowhere in the container ($pointer)" \
      "for a submodule: use the repository around it as the workspace" \
      "for a worktree with relative paths: git -C '$folder' config worktree.useRelativePaths false; git -C '$folder' worktree repair" ;;
  esac
  common=$folder/.git
  if [ -n "$pointer" ]; then
    have git || fail "$folder is a linked git worktree, and only git can find its repository" "install git, or use the repository itself as the workspace"
    common=$(git -c safe.directory='*' -C "$folder" rev-parse --path-format=absolute --git-common-dir 2>&1) && [ -d "$common" ] ||
      fail "$folder/.git points to a repository that does not exist: $common" "run git worktree repair '$folder' in the repository that it belongs to"
    paths=("$common:false" "$folder:false")
  fi
  while IFS= read -r shared; do
    case $shared in /*) [ ! -d "$shared" ] || paths+=("$shared:true") ;; esac
  done < <(cat "$common/objects/info/alternates" 2>/dev/null || true)
  [ ${#paths[@]} -gt 0 ] || return 0
  # Executions are sandboxed: the sandbox must open the mounted paths, in addition to the operator's paths. This file is
  # the last one, so its value replaces that of compose.override.yaml.
  opened=$(sandbox_paths) || exit 1
  printf 'services:\n  claude-api:\n    environment:\n'
  pointer=$(printf ',%s' "${paths[@]%:*}" | sed 's/[\\"]/\\&/g; s/[$]/$$/g')
  printf '      CLAUDE_API_SANDBOX_PATHS: "%s"\n    volumes:\n' "${opened:+$opened,}${pointer#,}"
  for line in "${paths[@]}"; do
    pointer=$(sed 's/[\\"]/\\&/g; s/[$]/$$/g' <<<"${line%:*}")
    printf '      - {type: bind, source: "%s", target: "%s", read_only: %s}\n' "$pointer" "$pointer" "${line##*:}"
  done
}

# compose ARGS...: runs Compose with the project's name and files. `step` cannot run a function: pass it "${COMPOSE[@]}".
compose() {
  compose_words
  "${COMPOSE[@]}" "$@"
}

# credential_set: succeeds when the shell or .env sets a credential or names its file. An empty credential counts: it
# selects the CLI's own login.
credential_set() {
  local name file
  for name in ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN; do
    file=${name}_FILE
    if [ -n "${!name+set}" ] || [ -n "${!file:-}" ]; then return 0; fi
  done
  return 1
}

# CREDENTIAL_FILES: the settings that name a file with a credential.
CREDENTIAL_FILES=(ANTHROPIC_API_KEY_FILE ANTHROPIC_AUTH_TOKEN_FILE CLAUDE_CODE_OAUTH_TOKEN_FILE)

# own_login: succeeds when no variable and no file gives a credential, so that the CLI uses its own login.
own_login() {
  local name
  for name in ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN "${CREDENTIAL_FILES[@]}"; do [ -z "${!name:-}" ] || return 1; done
}

# credential_words: prints where the credential of the model is in the stack that scripts/up starts.
credential_words() {
  if [ -n "$DEMO" ]; then return 0
  elif own_login; then
    say "credential: the CLI's own login, in claude-api. The tools can read it (SECURITY.md)"
    [ -z "${ANTHROPIC_BASE_URL:-}" ] || [ -n "${CCB_CREDENTIAL_IN_BOX:-}" ] ||
      warn "ANTHROPIC_BASE_URL is set, but the CLI's own login does not use it unless CCB_CREDENTIAL_IN_BOX=1 is set"
  elif [ -n "${CCB_CREDENTIAL_IN_BOX:-}" ]; then say "credential in the tools' environment, because CCB_CREDENTIAL_IN_BOX is set (SECURITY.md)"
  else say "credential: only the container credentials has it. The tools have a grant that ends with their execution"; fi
}

# port_taken PORT SERVICE [ADDRESS]: prints who uses the port, other than this project's own container; code 1 when it is
# free.
port_taken() {
  local other
  other=$(docker ps --filter "publish=$1" --format '{{.Names}} {{.Label "com.docker.compose.project"}}/{{.Label "com.docker.compose.service"}}' | head -n 1)
  if [ -n "$other" ]; then
    [ "${other#* }" != "$PROJECT/$2" ] || return 1
    echo "the container ${other%% *}"
  elif tcp_answers "$1" "${3:-}"; then
    other=$(ss -Hltnp "sport = :$1" 2>/dev/null | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/process \2 (\1)/p' | head -n 1)
    echo "${other:-another program on this machine}"
  else return 1; fi
}

# tcp_answers PORT [ADDRESS]: succeeds when the port accepts a connection, by default at the stack's published address.
tcp_answers() { (exec 3<>"/dev/tcp/$(reached_at "${2:-$PUBLISH}")/$1") 2>/dev/null; }

# reached_at ADDRESS: prints the address, without brackets, at which this machine reaches ports published on ADDRESS.
reached_at() {
  case $1 in
    0.0.0.0 | '::' | '[::]') echo 127.0.0.1 ;;
    *) tr -d '[]' <<<"$1" ;;
  esac
}

# remove_old_images: removes our unnamed images, found by label. Each build leaves the image that it replaces without a
# name, 0.6 GB each time. An image that a container still uses stays.
remove_old_images() {
  local image
  for image in $(docker images -q --filter dangling=true --filter label=io.cc-bridge.image); do
    docker image rm "$image" >/dev/null 2>&1 || true
  done
}

# login_mounted: succeeds when there is a login of the CLI: in the folder that becomes its home, or in the project's volume.
login_mounted() {
  local volume=${PROJECT}_cli-home
  if [ -n "${CCB_CLI_HOME:-}" ]; then [ -s "$CCB_CLI_HOME/.claude/.credentials.json" ]; return; fi
  docker volume inspect "$volume" >/dev/null 2>&1 && docker image inspect "$IMAGE" >/dev/null 2>&1 || return 1
  timeout 30 docker run --rm --network none --entrypoint test -v "$volume:/home/claude:ro" "$IMAGE" \
    -s /home/claude/.claude/.credentials.json
}

# caller_ids: sets the ids of the containers to the caller's, so that files belong to the caller. Never root's: for root,
# the ids of the workspace's owner.
caller_ids() {
  local uid gid
  uid=$(id -u) gid=$(id -g)
  if [ "$uid" = 0 ] && [ -n "${CCB_WORKSPACE:-}" ]; then read -r uid gid < <(stat -c '%u %g' "$CCB_WORKSPACE"); fi
  if [ "$uid" = 0 ]; then
    uid=10001 gid=10001
    [ -z "${CCB_WORKSPACE:-}" ] || warn "$CCB_WORKSPACE belongs to root, and the services run as $uid: they can read only what all users can read, and write nothing"
  fi
  export CCB_UID=${CCB_UID:-$uid} CCB_GID=${CCB_GID:-$gid}
}

# hand_over_volumes: gives the volumes of an earlier stack, which may belong to another user, to our user. The owner is
# read from the volumes themselves, not from a record. Containers of the other user stop first: otherwise files that they
# write at their end would keep the old owner. The folder of a volume stays as it is when our user may write it;
# otherwise it gets the image's owner and mode.
hand_over_volumes() {
  local names volume mounts=() words foreign roots inside closed
  names=$(docker volume ls -q --filter "label=com.docker.compose.project=$PROJECT")
  [ -n "$names" ] || return 0
  for volume in $names; do mounts+=(-v "$volume:/v/$volume"); done
  words=(docker run --rm --network none -u 0 --entrypoint find "${mounts[@]}" "$IMAGE" /v -mindepth 1)
  closed=('(' ! -path '/v/*/*' ! -perm -0007 ! '(' -uid "$CCB_UID" -perm -0700 ')' ')')
  # workspace/default is a mount point for another volume or folder, and belongs to root.
  inside=('(' -path '/v/*/*' ! -path '*_workspace/default' '(' ! -uid "$CCB_UID" -o ! -gid "$CCB_GID" ')' ')')
  foreign=$(timeout 60 "${words[@]}" -maxdepth 2 '(' "${closed[@]}" -o "${inside[@]}" ')' -print -quit) ||
    fail "could not examine the volumes of project $PROJECT" "scripts/down removes them, with all their data"
  [ -n "$foreign" ] || return 0
  step 60 "stop what runs as another user" "${COMPOSE[@]}" --progress plain stop || true
  roots=("${closed[@]}" -exec chown 0:0 '{}' + -exec chmod 1777 '{}' +)
  step 600 "hand the volumes over to $CCB_UID:$CCB_GID" "${words[@]}" "${roots[@]}" -o -path '/v/*/*' -exec chown -h "$CCB_UID:$CCB_GID" '{}' + ||
    fail "could not give the volumes to $CCB_UID:$CCB_GID" "scripts/down removes them, with all their data"
}

# link_mtu: prints the MTU of the machine's link, at most Docker's default of 1500.
link_mtu() {
  local device mtu
  device=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route 2>/dev/null || true)
  mtu=$(cat "/sys/class/net/${device:-none}/mtu" 2>/dev/null || echo 1500)
  if [ "$mtu" -lt 1500 ]; then echo "$mtu"; else echo 1500; fi
}

# ready_answer: prints the answer of /health/ready; succeeds only when the service is ready.
ready_answer() {
  compose exec -T claude-api curl -sS --max-time 5 --fail-with-body http://127.0.0.1:8002/health/ready 2>/dev/null
}

demo_banner() {
  say "==============================================================================="
  say "  DEMO: the CLI is real, the model is a SCRIPT. It uses no account and understands"
  say "  nothing: it runs Python code that prints, and gives a fixed answer to the rest."
  say "  For the real model: set ANTHROPIC_API_KEY (or CLAUDE_CODE_OAUTH_TOKEN) and run"
  say "  scripts/up again. An empty value selects the CLI's own login."
  say "==============================================================================="
  [ -z "${ANTHROPIC_BASE_URL:-}" ] || warn "ANTHROPIC_BASE_URL is set, but the demo does not use it"
}

# container_of SERVICE: prints the id of this project's running container, but not of a paused or restarting one.
container_of() {
  docker ps -q --filter status=running --filter "label=com.docker.compose.project=$PROJECT" --filter "label=com.docker.compose.service=$1" | head -n 1
}
