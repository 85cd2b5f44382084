# shellcheck shell=bash
# Prints a line per test and counts the results. Sourced, never run.

PASSED=0 FAILED=0 FAILURES=()
REPORT=$(mktemp -d "${TMPDIR:-/tmp}/ccb-test.XXXXXX")
trap 'rm -rf "$REPORT"' EXIT

passed() { PASSED=$((PASSED + 1)); ran "$1" 1 "${2:-0}"; printf 'ok      %s%s\n' "$1" "${2:+ ($2 s)}"; }
failed() { FAILED=$((FAILED + 1)); FAILURES+=("$1"); ran "$1" 0 "${2:-0}"; printf 'FAILED  %s%s\n' "$1" "${2:+ ($2 s)}"; }
# because: adds the lines of stdin to the last failure, for the summary at the end of a long run.
because() {
  local line
  while IFS= read -r line; do FAILURES[-1]+=$'\n'"      ${line:0:300}"; done
}
# For the table of repeated runs.
ran() { printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$REPORT/runs"; }

# limited SECONDS COMMAND...: runs the command with a time limit, in a process group of its own that `stop_limited` ends.
# Writes its exit code to $REPORT/code. The command runs in the background: otherwise Ctrl-C would wait for its end.
limited() {
  timeout --kill-after=10 "$@" </dev/null 2>&1 &
  echo $! >"$REPORT/pid"
  wait $!
  echo $? >"$REPORT/code"
}
stop_limited() {
  local pid
  pid=$(cat "$REPORT/pid" 2>/dev/null) || return 0
  # timeout passes the signal on to its group.
  kill -TERM "$pid" 2>/dev/null || true
  for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
}
undo() { stop_limited; }

# check SECONDS NAME COMMAND...: runs one test. Prints progress lines at once, and other output only when the test fails.
# Returns 0 when it passed.
check() {
  local limit=$1 name=$2 began=$SECONDS code shown='^ *[·…] '
  shift 2
  [ "${CCB_VERBOSE:-}" != 1 ] || shown=''
  limited "$limit" "$@" | tee "$REPORT/check" | grep --line-buffered -e "$shown" | sed -u 's/^/        /' &
  wait $!
  code=$(cat "$REPORT/code")
  if [ "$code" -eq 0 ]; then
    passed "$name" $((SECONDS - began))
    grep '^warning: ' "$REPORT/check" | sed 's/^/        /'
    return 0
  fi
  failed "$name" $((SECONDS - began))
  [ "$code" -ne 124 ] || echo "        it took longer than its limit of $limit s"
  tail -n 60 "$REPORT/check" | sed 's/^/        /'
  if [ "$code" -eq 124 ]; then because <<<"it took longer than its limit of $limit s"
  elif grep -q '^error: ' "$REPORT/check"; then because < <(grep -A2 '^error: ' "$REPORT/check" | head -n 6)
  else because < <(tail -n 3 "$REPORT/check"); fi
  return 1
}

# test_result LINE: counts one line of libtest's. It shares cargo_tests's variables.
test_result() {
  seen=$((seen + 1))
  name=${1#test } name=${name% ... *} now=$EPOCHREALTIME
  case $1 in
    # Another test starts this one by name. Any other ignored test counts as failed.
    *' ... ignored, runs inside '*) ;;
    *' ... ok') passed "$suite: $name" "${took[$name]:-$(elapsed "$before_this" "$now")}" ;;
    *) failed "$suite: $name" "$(elapsed "$before_this" "$now")" ;;
  esac
  before_this=$now
}

# suite_end: checks that every test that a suite announced ("running N tests") has a result, and
# that no other line counts as a result. Missing results mean that the suite ended early. Shares the
# variables of cargo_tests.
suite_end() {
  [ -n "$planned" ] || return 0
  if [ "$seen" -ne "$planned" ]; then failed "$suite: $planned tests were announced, $seen reported a result"
  elif [ "$finished" != "$planned" ]; then failed "$suite: the summary is missing, or counts other than $planned tests: ${finished:-none}"; fi
  planned='' results=''
}

# cargo_tests SECONDS ARGS...: runs cargo test, and prints a line per test with the time since the end of the previous one.
# SUITE_NOTE follows the suite's name in each line.
cargo_tests() {
  local limit=$1 code=0 suite='' line name before=$PASSED now before_this said pending=''
  local planned='' seen=0 finished='' results='' failures=$FAILED
  local -A took=()
  shift
  before_this=$EPOCHREALTIME
  while IFS= read -r line; do
    [ "${CCB_VERBOSE:-}" != 1 ] || printf '%s\n' "$line"
    case $line in
      *Running\ *\(* | *Doc-tests\ *) suite_end; suite=$(suite_name "$line")${SUITE_NOTE:-} before_this=$EPOCHREALTIME ;;
      'running '*' test' | 'running '*' tests')
        suite_end
        planned=${line#running } planned=${planned%% *} seen=0 finished='' results=1 pending='' ;;
      # The output of failing tests follows the results, and may look like results.
      'failures:' | 'successes:') results='' ;;
      'test result: '*) results='' finished=$(awk '{ print $4 + $6 + $8 }' <<<"$line") ;;
      ccb-code\ *) code=${line#ccb-code } ;;
      # Progress lines of a case on the composed stack; the last one holds the time that the case itself took.
      '  … '*)
        printf '%s\n' "$line"
        case $line in *' s: done') said=${line#  … } said=${said% s: done} took[${said%, *}]=${said##*, } ;; esac ;;
      # libtest writes a line in pieces: a case's own output may separate the test's name from its result.
      'test '*' ... ') [ -z "$results" ] || { pending=${line#test } pending=${pending% ... }; } ;;
      ok | FAILED) [ -z "$pending" ] || test_result "test $pending ... $line"; pending='' ;;
      'test '*' ... '*) [ -z "$results" ] || test_result "$line" ;;
    esac
  done < <({ limited "$limit" cargo test --locked --no-fail-fast "$@"; echo "ccb-code $(cat "$REPORT/code")"; } | tee "$REPORT/cargo")
  suite_end
  if [ "$code" -ne 0 ]; then
    if [ "$code" -eq 124 ]; then failed "cargo test $*: longer than its limit of $limit s"
    elif [ "$FAILED" -eq "$failures" ]; then failed "cargo test $*: exit code $code"; fi
    grep -vE '^test .* ok$|^ *(Compiling|Running|Doc-tests|Finished)|^running |^$' "$REPORT/cargo" | tail -n 150 | sed 's/^/        /'
    because < <(grep -A3 -E "^thread '.*' .*panicked at |^error: could not compile" "$REPORT/cargo" | head -n 24)
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

# table: prints for each test its passes, its failures, and its shortest, median and longest time in seconds.
table() {
  printf '%6s %6s %8s %8s %8s  %s\n' passed failed min median max test
  awk -F '\t' '{ if (!($1 in runs)) order[++n] = $1; runs[$1]++; good[$1] += $2; took[$1, runs[$1]] = $3 }
    END { for (i = 1; i <= n; i++) { t = order[i]; c = runs[t]
      for (a = 1; a <= c; a++) v[a] = took[t, a] + 0
      for (a = 2; a <= c; a++) for (b = a; b > 1 && v[b] < v[b - 1]; b--) { x = v[b]; v[b] = v[b - 1]; v[b - 1] = x }
      printf "%6d %6d %8.1f %8.1f %8.1f  %s\n", good[t], c - good[t], v[1], v[int((c + 1) / 2)], v[c], t } }' "$REPORT/runs"
}

summary() {
  local name
  if [ "$FAILED" -gt 0 ]; then
    echo "failures:"
    for name in "${FAILURES[@]}"; do echo "  $name"; done
  fi
  printf '%d passed, %d failed, %d s\n' "$PASSED" "$FAILED" "$SECONDS"
  if [ "$FAILED" -gt 0 ] || [ "$PASSED" -eq 0 ]; then exit 1; fi
}
