# shellcheck shell=bash
# Sourced first by every script here, never run: strict mode, messages, time limits, folders.
set -Eeuo pipefail
trap 'printf "error: %s:%d: this command failed: %s\n" "${BASH_SOURCE[0]##*/}" "$LINENO" "$BASH_COMMAND" >&2' ERR

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

say() { printf '%s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }

# fail_with CODE MESSAGE [REMEDY...]: prints what went wrong, then what to do about it, one line each, and exits. The codes
# are those of ccb: 64 for wrong usage or a wrong setting, 69 for not available, 1 for anything else.
fail_with() {
  local code=$1 line
  printf 'error: %s\n' "$2" >&2
  shift 2
  for line in "$@"; do printf '  %s\n' "$line" >&2; done
  exit "$code"
}
# fail MESSAGE [REMEDY...]
fail() { fail_with 1 "$@"; }

# settings_named: the names in .env that may be settings of cc-bridge. A superset: only Compose
# knows their values.
settings_named() {
  { LC_ALL=C grep -oE '[A-Za-z_][A-Za-z0-9_]*' "$ROOT/.env" || true; } | sort -u |
    { grep -xE '(ANTHROPIC|CLAUDE|BRIDGE|CREDENTIALS|CCB)_.+|(HTTPS?|NO)_PROXY|(https?|no)_proxy|(RUST|DEBIAN)_IMAGE|TZ' || true; }
}

# env_file: exports the settings in .env as Compose reads them; the shell wins, as with Compose.
# Compose is the only reader of .env: a small project on stdin lists the names, and Compose answers
# with the values as JSON, one name a line. Returns 1 when there is a .env and no Compose to read
# it. Not for the tests, which must not use the operator's settings.
env_file() {
  local names answer line name value dollar='$' quote='"' slash=\\ values=() project="services: {settings: {image: none, environment: [\"CCB__DOLLAR=\$\$\""
  [ "${CCB_ENV_FILE:-}" != none ] && [ -f "$ROOT/.env" ] || return 0
  names=$(settings_named)
  [ -n "$names" ] || return 0
  docker compose version >/dev/null 2>&1 || return 1
  for name in $names; do project+=", $name"; done
  answer=$(docker compose --project-directory "$ROOT" -p cc-bridge-settings -f - config --format json 2>&1 <<<"$project]}}") ||
    { say "$answer"; fail "Docker Compose cannot read $ROOT/.env" "fix the mistakes that the lines above name"; }
  while IFS= read -r line; do
    [[ $line =~ ^\ +\"([A-Za-z_][A-Za-z0-9_]*)\":\ \"(.*)\",?$ ]] || continue
    name=${BASH_REMATCH[1]} value=${BASH_REMATCH[2]}
    # A JSON string: its escapes are those of printf, but for the backslash before a quote.
    value=${value//"$slash$slash"/"${slash}x5c"}
    value=${value//"$slash$quote"/"$quote"}
    printf -v value '%b.' "$value"
    value=${value%.}
    # Some versions of Compose double each dollar in their answer.
    if [ "$name" = CCB__DOLLAR ]; then dollar=$value; continue; fi
    case $'\n'$names$'\n' in *$'\n'$name$'\n'*) values+=("$name=$value") ;; esac
  done <<<"$answer"
  for line in ${values[@]+"${values[@]}"}; do
    value=${line#*=}
    export "${line%%=*}=${value//"$dollar"/"${dollar:0:1}"}"
  done
}
SETTINGS="read"
env_file || SETTINGS=unread

# need_settings: fails when .env has settings that could not be read.
need_settings() {
  [ "$SETTINGS" = read ] || fail "$ROOT/.env holds settings, but Docker Compose, which alone reads that file, is missing" \
    "with Docker: scripts/compose-tools installs Compose" \
    "without Docker: export the settings in the shell (export NAME=value), and CCB_ENV_FILE=none"
}
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/cc-bridge
# The Compose project, so that two stacks (yours and a test's) live side by side.
PROJECT=${CCB_PROJECT:-cc-bridge}
STATES=${XDG_STATE_HOME:-$HOME/.local/state}/cc-bridge
STATE=$STATES/$PROJECT
# The pinned versions. scripts/upgrade-cli changes those of the CLI, here and in all other files.
CLI_VERSION=2.1.329
CLI_WHEEL=claude-agent-sdk==0.2.186
CLI_WHEEL_SHA256_AMD64=3aedbd01e5727283339362a544506f05cc19863a3b4c26bb9e1656d3e3940c3d
CLI_WHEEL_SHA256_ARM64=2cffab71ff508634e2a6841edbcaf0d6ac3cd698e2378967ff4ffceba1d2f1bd
# The digest of the binary itself, on x86-64.
CLI_SHA256_AMD64=30e2724e2aecb1bf5dc9f3130901afb71c5fa229051c190a6d7ad9aff6378d6d
RUST_VERSION=1.95
HTTP_PORT=${CCB_CLAUDE_API_PORT:-8002}
WS_PORT=${CCB_BRIDGE_PORT:-8003}
# The address of this machine on which Compose publishes both ports.
PUBLISH=${CCB_PUBLISH:-127.0.0.1}
export CLI_WHEEL CLI_WHEEL_SHA256_AMD64 CLI_WHEEL_SHA256_ARM64 CLI_SHA256_AMD64
export ROOT CACHE PROJECT STATE CLI_VERSION RUST_VERSION HTTP_PORT WS_PORT PUBLISH

# installed KIND NAME: records what a script installed outside its own folders; scripts/down lists these records.
INSTALLED=$STATES/.installed
installed() {
  mkdir -p "$STATES"
  grep -qsxF "$1 $2" "$INSTALLED" || echo "$1 $2" >>"$INSTALLED"
}

have() { command -v "$1" >/dev/null 2>&1; }

# The comment block at the top of a script is its help.
show_help() { sed -n '2,/^[^#]/{/^#/!d;/^# shellcheck/d;s/^# \{0,1\}//;p}' "$1"; }

# printable: filters foreign text, without the control characters that would move a terminal's cursor.
printable() { LC_ALL=C tr '\000-\010\013-\037\177' '?' | LC_ALL=C sed 's/\xc2[\x80-\x9f]/?/g'; }

# A signal to a script ends its background jobs. `undo` then removes what the script started, and EXIT traps remove
# temporary files. bash acts on a signal only between two foreground commands, so long commands are background jobs with
# a `wait`.
undo() { :; }
interrupted() {
  local jobs
  trap '' INT TERM
  say "interrupted: stopping background jobs"
  jobs=$(jobs -p)
  # shellcheck disable=SC2086 # ids
  [ -z "$jobs" ] || { kill $jobs || true; wait $jobs || true; } 2>/dev/null
  undo
  exit "$1"
}
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

# run COMMAND...: runs the command as a background job and waits for its end.
run() { "$@" & wait "$!"; }

# step SECONDS TITLE COMMAND...: runs the command with a time limit and its output in a log. Prints the title, a progress
# line every 10 s, and on failure the end of the log. Returns the command's code (124 after a timeout). The timeout, or a
# signal to this script, ends the command's whole process group.
step() {
  local limit=$1 title=$2 began=$SECONDS log code=0 ticker file
  shift 2
  # The log has no name from the start, so a signal that ends this script leaves no file.
  log=$(mktemp "${TMPDIR:-/tmp}/ccb-step.XXXXXX")
  exec {file}<>"$log"
  rm -f "$log"
  log=/proc/$BASHPID/fd/$file
  printf '· %s\n' "$title" >&2
  # Waits by reading a pipe that nobody writes to: a `sleep` would outlive this job.
  ( while ! read -rt 10; do printf '  … %s, %d s: %s\n' "$title" $((SECONDS - began)) "$(last_line "$log")" >&2; done ) <> <(:) &
  ticker=$!
  if [ "${CCB_VERBOSE:-}" = 1 ]; then
    timeout --kill-after=10 "$limit" "$@" > >(tee "$log" >&2) 2>&1 </dev/null &
  else
    timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null &
  fi
  wait "$!" || code=$?
  kill "$ticker" && wait "$ticker" 2>/dev/null || true
  if [ "$code" -ne 0 ]; then
    tail -n 25 "$log" | printable | sed 's/^/    /' >&2
    [ "$code" -ne 124 ] || printf '  it took longer than its limit of %d s\n' "$limit" >&2
  fi
  local verdict="FAILED ($code)"
  if [ "$code" -eq 0 ]; then verdict="done"; fi
  printf '  %s: %s, %d s\n' "$title" "$verdict" $((SECONDS - began)) >&2
  exec {file}>&-
  return "$code"
}

last_line() { tail -c 2000 "$1" 2>/dev/null | tr '\r' '\n' | grep -v '^[[:space:]]*$' | tail -n 1 | printable | cut -c1-100 || true; }

# root COMMAND...: runs the command as root, through sudo for other users.
root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif have sudo; then sudo -n "$@"
  else say "this needs root: $*"; return 1; fi
}

# need_command NAME PACKAGE: installs the Debian package when the command is missing and apt is available.
need_command() {
  have "$1" && return 0
  have apt-get || fail "$1 is missing" "install $1 with this system's package manager and run this again"
  # timeout, which runs the step's command, cannot run a shell function.
  local as=(sudo -n)
  [ "$(id -u)" != 0 ] || as=()
  step 300 "apt-get install $2" "${as[@]}" env DEBIAN_FRONTEND=noninteractive sh -c \
    "apt-get -q update && apt-get -qy install --no-install-recommends $2" ||
    fail "could not install $1" "the installation needs root (or sudo without a password); install the package $2 by hand and run this again"
  installed package "$2"
}
