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

# ccb_inside CONTAINER ARGS...: replaces this script by ccb in the bridge's image. It uses `docker run`, not `docker compose
# exec`: only run passes signals on to the program inside. The container is removed with ccb. ccb uses this machine's
# network for an address that the caller named. By the label, scripts/down finds the clients on the project's network.
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
