# shellcheck shell=bash
# A line per test, and the count. Sourced, never run.

PASSED=0 FAILED=0 FAILURES=()
REPORT=$(mktemp -d "${TMPDIR:-/tmp}/ccb-test.XXXXXX")
trap 'rm -rf "$REPORT"' EXIT

passed() { PASSED=$((PASSED + 1)); printf 'ok      %s%s\n' "$1" "${2:+ ($2 s)}"; }
failed() { FAILED=$((FAILED + 1)); FAILURES+=("$1"); printf 'FAILED  %s%s\n' "$1" "${2:+ ($2 s)}"; }

# check SECONDS NAME COMMAND...: one test; its output is shown when it fails. Code 0 when it passed.
check() {
  local limit=$1 name=$2 began=$SECONDS code=0
  shift 2
  timeout --kill-after=10 "$limit" "$@" >"$REPORT/check" 2>&1 </dev/null || code=$?
  [ "${CCB_VERBOSE:-}" != 1 ] || cat "$REPORT/check"
  if [ "$code" -eq 0 ]; then
    passed "$name" $((SECONDS - began))
    grep '^warning: ' "$REPORT/check" | sed 's/^/        /'
    return 0
  fi
  failed "$name" $((SECONDS - began))
  [ "$code" -ne 124 ] || echo "        it took longer than its limit of $limit s"
  tail -n 60 "$REPORT/check" | sed 's/^/        /'
  return 1
}

# cargo_tests SECONDS ARGS...: cargo test, each of its tests a line with the time since the one before it ended.
cargo_tests() {
  local limit=$1 code=0 suite='' line name before=$PASSED now before_this
  shift
  before_this=$EPOCHREALTIME
  while IFS= read -r line; do
    [ "${CCB_VERBOSE:-}" != 1 ] || printf '%s\n' "$line"
    case $line in
      *Running\ *\(* | *Doc-tests\ *) suite=$(suite_name "$line") before_this=$EPOCHREALTIME ;;
      ccb-code\ *) code=${line#ccb-code } ;;
      'test '*' ... '*)
        name=${line#test } name=${name% ... *} now=$EPOCHREALTIME
        case $line in
          *' ... ok') passed "$suite: $name" "$(elapsed "$before_this" "$now")" ;;
          *) failed "$suite: $name (${line##* ... })" "$(elapsed "$before_this" "$now")" ;;
        esac
        before_this=$now ;;
    esac
  done < <({ timeout --kill-after=10 "$limit" cargo test --locked --no-fail-fast "$@" </dev/null 2>&1 || echo "ccb-code $?"; } | tee "$REPORT/cargo")
  if [ "$code" -ne 0 ]; then
    if [ "$code" -eq 124 ]; then failed "cargo test $*: longer than its limit of $limit s"
    elif ! grep -q '^test .* FAILED$' "$REPORT/cargo"; then failed "cargo test $*: exit code $code"; fi
    grep -vE '^test .* ok$|^ *(Compiling|Running|Doc-tests|Finished)|^running |^$' "$REPORT/cargo" | tail -n 150 | sed 's/^/        /'
  elif [ "$PASSED" -eq "$before" ]; then failed "cargo test $*: no test ran"; fi
}

# "Running tests/services/main.rs (target/debug/deps/services-0123456789abcdef)" -> services
suite_name() {
  case $1 in
    *Doc-tests*) echo "${1##*Doc-tests } (doc)" ;;
    *) local name=${1##*/deps/}; name=${name%%)*}; echo "${name%-*}" ;;
  esac
}

elapsed() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", b - a }'; }

summary() {
  local name
  if [ "$FAILED" -gt 0 ]; then
    echo "failures:"
    for name in "${FAILURES[@]}"; do echo "  $name"; done
  fi
  printf '%d passed, %d failed, %d s\n' "$PASSED" "$FAILED" "$SECONDS"
  if [ "$FAILED" -gt 0 ] || [ "$PASSED" -eq 0 ]; then exit 1; fi
}
