# shellcheck shell=bash
# Runs ccb in a container of its own, and chooses its network and its address of the bridge. Sourced, never run.

# named_url ARGS...: prints the bridge's address from these arguments or CCB_URL, or nothing when neither names one.
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

# project_at URL: prints the Compose project whose bridge is published at this address of this machine; code 1 for none.
project_at() {
  local authority=${1#ws://} project
  authority=${authority%%/*}
  case $authority in 127.*:* | localhost:* | '[::1]:'*) ;; *) return 1 ;; esac
  project=$(docker ps --filter "publish=${authority##*:}" --filter label=com.docker.compose.service=bridge \
    --format '{{.Label "com.docker.compose.project"}}' 2>/dev/null | head -n 1)
  [ -n "$project" ] && printf '%s' "$project"
}

# published_at CONTAINER PORT: prints where this machine reaches a port of the container, as ADDRESS:PORT; code 1 when it
# does not reach it.
published_at() {
  local at address
  at=$(docker port "$1" "$2" 2>/dev/null | head -n 1 || true)
  [ -n "$at" ] && tcp_answers "${at##*:}" "${at%:*}" || return 1
  address=$(reached_at "${at%:*}")
  case $address in *:*) address="[$address]" ;; esac
  printf '%s:%s' "$address" "${at##*:}"
}

# host_network_is_ours: succeeds when a container with `--network host` reaches the ports that are published on this
# machine. This fails for an engine in a virtual machine, with user namespaces, or without root.
host_network_is_ours() {
  case $(docker info --format '{{.OperatingSystem}} {{.SecurityOptions}}' 2>/dev/null) in
    '' | *Desktop* | *name=userns* | *name=rootless*) return 1 ;;
  esac
}

# network_of CONTAINER: prints the network that the container shares with the rest of its project.
network_of() {
  docker inspect -f '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}' "$1" | tr ' ' '\n' |
    awk 'NF { any = $0 } /_inner$/ { inner = $0 } END { print inner == "" ? any : inner }'
}

# way_to_bridge CONTAINER: sets NETWORK and WS_URL for ccb in a container of its own. Both survive a restart and a
# replacement of the bridge; the container's own network would not. The published address is preferred: ccb shows it, and
# it also works on this machine. Where a container cannot reach it, ccb uses the service's name in the project's network.
way_to_bridge() {
  local at
  if host_network_is_ours && at=$(published_at "$1" 8003); then NETWORK=host WS_URL=ws://$at/ws
  else NETWORK=$(network_of "$1") WS_URL=ws://bridge:8003/ws; fi
}

# mount_files ARGS...: sets MOUNTS to the words that give a container the caller's token and CA as files, and ARGS to the
# arguments with the files' paths in the container. A token is never an argument or a variable of the container: process
# lists and docker inspect show those.
mount_files() {
  local token=${CCB_TOKEN_FILE:-} usual=${XDG_CONFIG_HOME:-$HOME/.config}/cc-bridge/token named='' ca=${CCB_CA:-}
  MOUNTS=() ARGS=()
  while [ $# -gt 0 ] && [ "$1" != -- ]; do
    case $1 in
      --token-file=* | --ca=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
      --token-file) named=1 ;;&
      --ca) ca='' ;;&
      --token-file | --ca) if [ $# -gt 1 ]; then mount_file "$1" "$2"; ARGS+=("$1" "$(inner_path "$1")"); shift 2; continue; fi ;;
    esac
    ARGS+=("$1")
    shift
  done
  ARGS+=("$@")
  if [ -n "$ca" ]; then mount_file --ca "$ca"; MOUNTS+=(-e "CCB_CA=$(inner_path --ca)"); fi
  [ -z "$named" ] || return 0
  if [ -z "$token" ] && [ -n "${CCB_TOKEN:-}" ]; then token=$(token_in_a_file)
  elif [ -z "$token" ] && [ -f "$usual" ]; then token=$usual; fi
  [ -n "$token" ] || return 0
  mount_file --token-file "$token"
  MOUNTS+=(-e "CCB_TOKEN_FILE=$(inner_path --token-file)")
}

# inner_path OPTION: prints the path of the option's file in the container.
inner_path() { echo "/run/ccb$1"; }

# mount_file OPTION FILE: adds the mount of this machine's file to MOUNTS, and the user that may read it.
mount_file() {
  local path=$2
  [ -f "$path" ] && [ -r "$path" ] || fail_with 64 "the file of $1 cannot be read: $path" "check the path and the file's permissions"
  path=$(cd "$(dirname "$path")" && pwd)/$(basename "$path")
  MOUNTS+=(--mount "type=bind,source=$path,target=$(inner_path "$1"),readonly")
  [ "$1" = --ca ] || MOUNTS+=(--user "$(user_for "$path")")
}

# user_for PATH: prints the user and group of a container that may use this machine's file or folder as the caller may.
user_for() {
  case $(docker info --format '{{.OperatingSystem}} {{.SecurityOptions}}' 2>/dev/null) in
    # Root of such a container is the caller.
    *Desktop* | *name=rootless*) echo 0:0 ;;
    # Root without capabilities opens only its own files.
    *) if [ "$(id -u)" = 0 ]; then stat -L -c '%u:%g' "$1"; else echo "$(id -u):$(id -g)"; fi ;;
  esac
}

# token_in_a_file: writes CCB_TOKEN to a file that only this user may read, and prints its path. The file is removed when
# this process has ended, also as docker.
token_in_a_file() {
  local file
  file=$(umask 077 && mktemp "${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}/ccb-token.XXXXXX")
  printf '%s\n' "$CCB_TOKEN" >"$file"
  (trap '' INT TERM HUP; while kill -0 "$$"; do sleep 1; done; rm -f "$file") </dev/null >/dev/null 2>&1 &
  printf '%s' "$file"
}

# CLOSED: the words of a container that can do nothing but run ccb.
CLOSED=(--rm --interactive --init --read-only --cap-drop ALL --security-opt no-new-privileges --log-driver none --entrypoint ccb
  -e NO_COLOR -e TERM -e TZ -e RUST_LOG)

# ccb_inside CONTAINER ARGS...: replaces this script by ccb in the bridge's image. It uses `docker run`, not `docker compose
# exec`: only run passes signals on to the program inside. The container is removed with ccb. ccb uses this machine's
# network for an address that the caller named. By the label, scripts/down finds the clients on the project's network.
ccb_inside() {
  local bridge=$1 words NETWORK=host WS_URL='' MOUNTS ARGS
  shift
  [ -n "$(named_url "$@")" ] || way_to_bridge "$bridge"
  mount_files "$@"
  words=(run "${CLOSED[@]}" --network "$NETWORK" --label "io.cc-bridge.ccb=$PROJECT"
    --user "$(docker inspect -f '{{.Config.User}}' "$bridge")"
    -e "CCB_URL=${CCB_URL:-${WS_URL:-ws://127.0.0.1:8003/ws}}" -e CCB_CLAUDE_API_URL -e CCB_DOCTOR_FACTS
    ${MOUNTS[@]+"${MOUNTS[@]}"})
  if [ -t 0 ] && [ -t 1 ]; then words+=(--tty); fi
  exec docker "${words[@]}" "$(docker inspect -f '{{.Image}}' "$bridge")" ${ARGS[@]+"${ARGS[@]}"}
}

# ccb_token ARGS...: replaces this script by `ccb token ARGS...` in the bridge's image, without a network. It writes the
# files that --add and --out name, in this machine's folders.
ccb_token() {
  local image=${CCB_IMAGES:-cc-bridge}/bridge:${CCB_TAG:-local} words path folder args=(token)
  docker image inspect "$image" >/dev/null 2>&1 || fail_with 69 "there is no image $image, which holds ccb" "build it: scripts/up"
  words=(run "${CLOSED[@]}" --network none)
  while [ $# -gt 0 ]; do
    case $1 in
      --add=* | --out=*) set -- "${1%%=*}" "${1#*=}" "${@:2}"; continue ;;
      --add | --out)
        # A single - is stdout.
        if [ $# -gt 1 ] && [ "$2" != - ]; then
          folder=$(dirname "$2")
          [ -d "$folder" ] || fail_with 64 "there is no folder $folder" "make it: mkdir -p -m 0700 '$folder'"
          folder=$(cd "$folder" && pwd) path=$(basename "$2")
          words+=(--mount "type=bind,source=$folder,target=$folder" --user "$(user_for "$folder")")
          args+=("$1" "$folder/$path")
          shift 2
          continue
        fi ;;
    esac
    args+=("$1")
    shift
  done
  if [ -t 0 ] && [ -t 1 ]; then words+=(--tty); fi
  exec docker "${words[@]}" "$image" "${args[@]}"
}
