# shellcheck shell=bash
# What every script here starts with: strict mode, messages, time limits, the folders. Sourced, never run.
set -Eeuo pipefail
trap 'printf "error: %s:%d: this command failed: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# What .env says, as Compose reads it; the shell wins. Not for the tests, which know nothing of this machine's account.
env_file() {
  local line name tail ref
  while IFS= read -r line; do
    line=${line#export } name=${line%%=*}
    case $name in ANTHROPIC_* | CLAUDE_* | BRIDGE_* | CCB_* | HTTP_PROXY | HTTPS_PROXY | NO_PROXY | RUST_IMAGE | DEBIAN_IMAGE) ;; *) continue ;; esac
    line=${line#*=} tail=''
    case $line in
      \'*) line=${line#\'} tail=${line%%\'*} line='' ;;
      \"*) line=${line#\"} line=${line%%\"*} ;;
      # A comment, and what stands before it.
      *) line=${line%%[[:space:]]#*} line=${line%"${line##*[![:space:]]}"} ;;
    esac
    # ${NAME} from behind: a value is not looked into again.
    while [[ $line =~ ^(.*)\$\{([A-Za-z_][A-Za-z0-9_]*)\}(.*)$ ]]; do
      ref=${BASH_REMATCH[2]} tail=${BASH_REMATCH[3]}$tail line=${BASH_REMATCH[1]} tail=${!ref-}$tail
    done
    line=$line$tail
    if [ -z "${!name+set}" ]; then export "$name=$line"; fi
  done < <(grep -sE '^(export )?[A-Za-z_]+=' "$ROOT/.env" || true)
}
[ "${CCB_ENV_FILE:-}" = none ] || env_file

CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/cc-bridge
# The Compose project, so that two stacks (yours and a test's) live side by side.
PROJECT=${CCB_PROJECT:-cc-bridge}
STATE=${XDG_STATE_HOME:-$HOME/.local/state}/cc-bridge/$PROJECT
# The pinned versions; scripts/upgrade-cli changes those of the CLI, here and wherever else they stand.
CLI_VERSION=2.1.329
CLI_WHEEL=claude-agent-sdk==0.2.186
CLI_WHEEL_SHA256_AMD64=3aedbd01e5727283339362a544506f05cc19863a3b4c26bb9e1656d3e3940c3d
CLI_WHEEL_SHA256_ARM64=2cffab71ff508634e2a6841edbcaf0d6ac3cd698e2378967ff4ffceba1d2f1bd
# Of the binary itself, on x86-64.
CLI_SHA256_AMD64=30e2724e2aecb1bf5dc9f3130901afb71c5fa229051c190a6d7ad9aff6378d6d
RUST_VERSION=1.95
HTTP_PORT=${CCB_CLAUDE_API_PORT:-8002}
WS_PORT=${CCB_BRIDGE_PORT:-8003}
export CLI_WHEEL CLI_WHEEL_SHA256_AMD64 CLI_WHEEL_SHA256_ARM64 CLI_SHA256_AMD64
export ROOT CACHE PROJECT STATE CLI_VERSION RUST_VERSION HTTP_PORT WS_PORT

say() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# fail MESSAGE [REMEDY...]: what went wrong, then what to do about it, one line each.
fail() {
  printf 'error: %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# The comment block at the top of a script is its help.
show_help() { sed -n '2,/^[^#]/{/^#/!d;/^# shellcheck/d;s/^# \{0,1\}//;p}' "$1"; }

# step SECONDS TITLE COMMAND...: runs it with a time limit and its output in a log; prints the title, a sign of life
# every 10 s, and on failure the end of the log. Returns the command's code (124 when the time was up).
step() {
  local limit=$1 title=$2 began=$SECONDS log code=0 ticker file
  shift 2
  # Without a name from the start, so that nothing is left of it when Ctrl-C ends this script.
  log=$(mktemp "${TMPDIR:-/tmp}/ccb-step.XXXXXX")
  exec {file}<>"$log"
  rm -f "$log"
  log=/proc/$BASHPID/fd/$file
  printf '· %s\n' "$title" >&2
  ( while sleep 10; do printf '  … %s, %d s: %s\n' "$title" $((SECONDS - began)) "$(last_line "$log")" >&2; done ) &
  ticker=$!
  if [ "${CCB_VERBOSE:-}" = 1 ]; then
    timeout --foreground --kill-after=10 "$limit" "$@" > >(tee "$log" >&2) 2>&1 || code=$?
  else
    timeout --foreground --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || code=$?
  fi
  kill_tree "$ticker"
  if [ "$code" -ne 0 ]; then
    tail -n 25 "$log" | sed 's/^/    /' >&2
    [ "$code" -ne 124 ] || printf '  it took longer than its limit of %d s\n' "$limit" >&2
  fi
  local verdict="FAILED ($code)"
  if [ "$code" -eq 0 ]; then verdict="done"; fi
  printf '  %s: %s, %d s\n' "$title" "$verdict" $((SECONDS - began)) >&2
  exec {file}>&-
  return "$code"
}

last_line() { tail -c 2000 "$1" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | cut -c1-100 || true; }

# A background shell and the sleep inside it: both by their ids.
kill_tree() {
  local child children=()
  read -r -a children <"/proc/$1/task/$1/children" 2>/dev/null || true
  # The shell first, or it would report its child's death.
  kill "$1" 2>/dev/null || true
  for child in ${children[@]+"${children[@]}"}; do kill "$child" 2>/dev/null || true; done
  wait "$1" 2>/dev/null || true
}

# root COMMAND...: as root, through sudo when we are not.
root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo -n "$@"
  else say "this needs root: $*"; return 1; fi
}

# need_command NAME PACKAGE: installs the Debian package when the command is missing and apt is there.
need_command() {
  have "$1" && return 0
  have apt-get || fail "$1 is missing" "install $1 with this system's package manager and run this again"
  # A step is a program of its own, which knows no shell function.
  local as=(sudo -n)
  [ "$(id -u)" != 0 ] || as=()
  step 300 "apt-get install $2" "${as[@]}" env DEBIAN_FRONTEND=noninteractive sh -c \
    "apt-get -q update && apt-get -qy install --no-install-recommends $2" ||
    fail "$1 could not be installed" "it needs root (or sudo without a password); install the package $2 by hand and run this again"
}
