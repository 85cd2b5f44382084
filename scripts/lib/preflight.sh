# shellcheck shell=bash
# What scripts/up refuses or warns of before it starts anything: names, ports, ids, paths, Compose files. Sourced, never run.

# What a setting's name looks like.
SETTING='(CCB|CLAUDE_API|BRIDGE|ANTHROPIC)_[A-Za-z0-9_]+'
# settings_known [local]: the names of settings, one a line: those that compose.yaml passes or uses, that
# compose.override.yaml mentions, and that the scripts use. Without containers, each setting of the services.
settings_known() {
  local override=${CCB_OVERRIDE-$ROOT/compose.override.yaml} scripts
  scripts=("$ROOT"/scripts/{up,down,ccb,base-images,fetch-cli} "$ROOT"/scripts/lib/{common,stack,client,doctor,local,bases,binaries,cli}.sh)
  {
    grep -hoE "[$][{]$SETTING|^ +- $SETTING$" "$ROOT/compose.yaml"
    grep -hoE "[$][{]?$SETTING" "${scripts[@]}"
    if [ "${1:-}" = local ]; then grep -hoE "\`$SETTING\`" "$ROOT/docs/operations.md"
    elif [ -n "$override" ] && [ -f "$override" ]; then cat "$override"; fi
    # What the CLI gets of the services' own environment.
    printf '%s\n' "${CLAUDE_API_PASS_ENV:-}"
  } | LC_ALL=C grep -oE "$SETTING" | sort -u
}

# warn_of_names [local]: warns of each name in .env that looks like a setting and is none.
warn_of_names() {
  local name known
  [ "${CCB_ENV_FILE:-}" != none ] && [ -f "$ROOT/.env" ] || return 0
  known=$'\n'$(settings_known "$@")$'\n'
  while IFS= read -r name; do
    case $known in *$'\n'$name$'\n'*) ;; *) warn ".env: $name is no setting" ;; esac
  done < <(LC_ALL=C sed -nE '1s/^\xef\xbb\xbf//; s/^[[:space:]]*(export[[:space:]]+)?('"$SETTING"')[[:space:]]*([=:].*)?$/\2/p' "$ROOT/.env")
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

# check_ids: CCB_UID and CCB_GID are ids, and not root's. What root writes into the volumes, no other user can read.
check_ids() {
  [[ ${CCB_UID:-1} =~ ^[0-9]+$ ]] || fail_with 64 "CCB_UID=$CCB_UID is no number" "set it to the id of a user (id -u NAME), or leave it out"
  [[ ${CCB_UID:-1} =~ [1-9] ]] || fail_with 64 "CCB_UID=$CCB_UID would run the services, and all that the model runs, as root" \
    "set it to the id of another user, or leave it out: then it is yours, and for root the owner of CCB_WORKSPACE or 10001"
  [[ ${CCB_GID:-1} =~ ^[0-9]+$ ]] || fail_with 64 "CCB_GID=$CCB_GID is no number" "set it to the id of a group (id -g NAME), or leave it out"
}

# need_images: the engine has the image of each service.
need_images() {
  local image services=(claude-api bridge)
  [ -z "$DEMO" ] || services+=(scripted-model)
  for image in $(compose config --images "${services[@]}" | sort); do
    image_there "$image" || fail_with 69 "there is no image $image, and --no-build builds none" \
      "build it: scripts/up without --no-build; or load it: docker load; or name another one with CCB_IMAGES and CCB_TAG"
  done
}
