# shellcheck shell=bash
# Checks of scripts/up before it starts anything: names, ports, ids, paths, Compose files. Sourced, never run.

# The pattern of a setting's name.
SETTING='(CCB|CLAUDE_API|BRIDGE|CREDENTIALS|ANTHROPIC)_[A-Za-z0-9_]+'
# settings_known [local]: prints the names of settings, one a line: names that compose.yaml passes or uses, that
# compose.override.yaml mentions, and that the scripts use. With `local`, every setting of the services.
settings_known() {
  local override=${CCB_OVERRIDE-$ROOT/compose.override.yaml} scripts
  scripts=("$ROOT"/scripts/{up,down,ccb,base-images,fetch-cli} "$ROOT"/scripts/lib/{common,stack,access,observability,client,doctor,local,bases,binaries,cli}.sh)
  {
    grep -hoE "[$][{]$SETTING|^ +- $SETTING([$]|$)" "$ROOT"/compose{,.tls}.yaml
    grep -hoE "[$][{]?$SETTING" "${scripts[@]}"
    if [ "${1:-}" = local ]; then grep -hoE "\`$SETTING\`" "$ROOT/docs/operations.md"
    elif [ -n "$override" ] && [ -f "$override" ]; then cat "$override"; fi
    # Variables of the services' environment that the CLI gets.
    printf '%s\n' "${CLAUDE_API_PASS_ENV:-}"
  } | LC_ALL=C grep -oE "$SETTING" | sort -u
}

# warn_of_names [local]: warns about each name in .env that looks like a setting but is none.
warn_of_names() {
  local name known
  [ "${CCB_ENV_FILE:-}" != none ] && [ -f "$ROOT/.env" ] || return 0
  known=$'\n'$(settings_known "$@")$'\n'
  while IFS= read -r name; do
    case $known in *$'\n'$name$'\n'*) ;; *) warn ".env: $name is no setting" ;; esac
  done < <(LC_ALL=C sed -nE '1s/^\xef\xbb\xbf//; s/^[[:space:]]*(export[[:space:]]+)?('"$SETTING"')[[:space:]]*([=:].*)?$/\2/p' "$ROOT/.env")
}

# compose_path PATH: prints the path as Compose reads it: ~ is the home; ./ and ../ are relative to compose.yaml.
compose_path() {
  # shellcheck disable=SC2088 # as it is written
  case $1 in
    '~' | '~/'*) printf '%s' "$HOME${1#\~}" ;;
    ./* | ../*) printf '%s' "$ROOT/$1" ;;
    *) printf '%s' "$1" ;;
  esac
}

# check_paths: checks that the files and folders in settings exist, and makes their paths absolute. Otherwise Compose would
# read a plain name as a volume, and the engine would create a missing folder as root.
check_paths() {
  local name path
  for name in CCB_WORKSPACE CCB_CLI_HOME; do
    path=${!name:-}
    [ -n "$path" ] || continue
    path=$(compose_path "$path")
    [ -d "$path" ] || fail "$name is not a folder: $path" "create it first, or unset $name"
    export "$name=$(cd "$path" && pwd)"
  done
  for name in "${CREDENTIAL_FILES[@]}"; do
    path=${!name:-}
    [ -n "$path" ] || continue
    path=$(compose_path "$path")
    [ -r "$path" ] && [ -f "$path" ] || fail "$name is not a readable file: $path" "check the path and the file's permissions"
    export "$name=$(cd "$(dirname "$path")" && pwd)/$(basename "$path")"
  done
}

# check_port_numbers NAME=PORT...: checks that a service can listen on each number, and that no two are equal.
check_port_numbers() {
  local setting name port other before=()
  for setting in "$@"; do
    name=${setting%%=*} port=${setting#*=}
    [[ $port =~ ^[1-9][0-9]{0,4}$ ]] && [ "$port" -le 65535 ] || fail_with 64 "$name=$port is no port" "set it to a number from 1 to 65535"
    for other in ${before[@]+"${before[@]}"}; do
      [ "${other#*=}" != "$port" ] || fail_with 64 "${other%%=*} and $name are both $port" "set different ports"
    done
    before+=("$setting")
  done
}

# check_compose: checks that Compose can read our files and this machine's file with these settings.
check_compose() {
  local said override=${CCB_OVERRIDE-$ROOT/compose.override.yaml}
  compose_words
  said=$("${COMPOSE[@]}" config --quiet 2>&1) && return 0
  say "$(printable <<<"$said")"
  if [ -n "$override" ] && [ -f "$override" ] && CCB_OVERRIDE='' compose config --quiet >/dev/null 2>&1; then
    fail_with 64 "Docker Compose cannot read $override" \
      "fix the mistakes that the lines above name; compose.override.example.yaml is an example, and docker compose config checks the file"
  fi
  fail_with 64 "Docker Compose cannot read compose.yaml with these settings" \
    "fix the mistakes that the lines above name, in the shell or in .env; docs/operations.md lists the settings"
}

# check_ports: fails when a port is in use, and proposes a free port and its setting. Otherwise the engine would fail later.
check_ports() {
  local setting service port who free address
  for setting in CCB_CLAUDE_API_PORT:claude-api:$HTTP_PORT CCB_BRIDGE_PORT:bridge:$WS_PORT ${TLS:+"CCB_TLS_PORT:tls-proxy:$TLS_PORT"} \
    ${OBSERVABILITY:+"CCB_PROMETHEUS_PORT:prometheus:$PROMETHEUS_PORT"}; do
    IFS=: read -r setting service port <<<"$setting"
    case $service in tls-proxy) address=$TLS_PUBLISH ;; prometheus) address=127.0.0.1 ;; *) address=$PUBLISH ;; esac
    if who=$(port_taken "$port" "$service" "$address"); then
      free=$(free_port $((port > 64000 ? port - 1000 : port + 1000)))
      fail "port $port, which $service needs on $address, is in use by $who" \
        "stop that program, or use another port: $setting=$free scripts/up, or put $setting=$free into .env for every start"
    fi
  done
}

# free_port FROM: prints the first port from FROM on that nobody listens on.
free_port() {
  local port=$1
  while [ "$port" -lt 65000 ] && tcp_answers "$port"; do port=$((port + 1)); done
  echo "$port"
}

# check_credential: checks the setting that gives the credential to the tools, and the ids of credentials. They are never
# root's.
check_credential() {
  local name
  case ${CCB_CREDENTIAL_IN_BOX:-} in
    '' | 1) ;;
    *) fail_with 64 "CCB_CREDENTIAL_IN_BOX=$CCB_CREDENTIAL_IN_BOX is neither 1 nor empty" "unset it: then only the container credentials has the credential" ;;
  esac
  for name in CCB_CREDENTIALS_UID CCB_CREDENTIALS_GID; do
    [[ ${!name:-1} =~ ^0*[1-9][0-9]*$ ]] || fail_with 64 "$name=${!name} is not the number of a user or group other than root" "unset it: the default is 10003, or the owner of the credential's file"
  done
}

# credential_ids: sets the ids of the container credentials: its own, or those of the owner of a credential's file that
# nobody else may read. Needs the library access.sh.
credential_ids() {
  local name path uid gid
  [ -z "$DEMO" ] || return 0
  for name in "${CREDENTIAL_FILES[@]}"; do
    path=${!name:-}
    [ -n "$path" ] || continue
    if CCB_UID=${CCB_CREDENTIALS_UID:-10003} CCB_GID=${CCB_CREDENTIALS_GID:-10003} may_read "$path"; then continue; fi
    read -r uid gid < <(stat -L -c '%u %g' "$path")
    [ "$uid" != 0 ] && [ -z "${CCB_CREDENTIALS_UID:-}" ] ||
      fail_with 64 "the container credentials runs as ${CCB_CREDENTIALS_UID:-10003}:${CCB_CREDENTIALS_GID:-10003} and may not read $path ($name)" \
        "its owner is $uid:$gid, its mode $(stat -L -c %a "$path"): sudo chown ${CCB_CREDENTIALS_UID:-10003} '$path'"
    export CCB_CREDENTIALS_UID=$uid CCB_CREDENTIALS_GID=$gid
  done
}

# check_ids: checks that CCB_UID and CCB_GID are ids, and not root's: no other user could read root's files in the volumes.
check_ids() {
  [[ ${CCB_UID:-1} =~ ^[0-9]+$ ]] || fail_with 64 "CCB_UID=$CCB_UID is not a number" "set it to the id of a user (id -u NAME), or unset it"
  [[ ${CCB_UID:-1} =~ [1-9] ]] || fail_with 64 "CCB_UID=$CCB_UID would run the services, and everything that the model runs, as root" \
    "set it to the id of another user, or unset it: the default is your id, and for root the owner of CCB_WORKSPACE or 10001"
  [[ ${CCB_GID:-1} =~ ^[0-9]+$ ]] || fail_with 64 "CCB_GID=$CCB_GID is not a number" "set it to the id of a group (id -g NAME), or unset it"
}

# need_images: checks that the engine has the image of each service.
need_images() {
  local image services=(claude-api bridge credentials)
  [ -z "$DEMO" ] || services+=(scripted-model)
  [ -z "$TLS" ] || services+=(tls-proxy)
  [ -z "$OBSERVABILITY" ] || services+=(prometheus)
  for image in $(compose config --images "${services[@]}" | sort); do
    image_there "$image" || fail_with 69 "there is no image $image, and --no-build builds none" \
      "build it (scripts/up without --no-build), load it (docker load), or name another one with CCB_IMAGES and CCB_TAG"
  done
}
