# shellcheck shell=bash
# Gets the Claude CLI from its wheel on the Python package index. Sourced, never run.

need_pip() { python3 -m pip --version >/dev/null 2>&1 || need_command pip3 python3-pip; }

# wheel_binary REQUIREMENT SHA256 DIR: downloads the wheel into DIR, unpacks the CLI, and sets BINARY to its path. pip checks
# the digest before this unpacks anything. DIR holds 550 MB afterwards.
wheel_binary() {
  printf '%s --hash=sha256:%s\n' "$1" "$2" >"$3/cli.txt"
  step 900 "download $1 (166 MB)" python3 -m pip download --no-input --no-cache-dir --timeout 60 --retries 3 \
    --progress-bar off --no-deps --only-binary=:all: --require-hashes -d "$3" -r "$3/cli.txt" ||
    fail "could not download the Claude CLI, or its checksum is wrong" "check that the Python package index is reachable"
  step 120 "unpack it" python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("claude_agent_sdk/_bundled/claude", sys.argv[2])' \
    "$3"/*.whl "$3" || fail "could not unpack the wheel" "check that $3 has 550 MB of free space"
  BINARY=$3/claude_agent_sdk/_bundled/claude
  chmod 0755 "$BINARY"
}

# wheel_sha256 REQUIREMENT PLATFORM: prints the digest that the index has for the wheel, without a download.
wheel_sha256() {
  local answer
  answer=$(timeout 120 python3 -m pip install --quiet --dry-run --ignore-installed --no-input --no-deps --only-binary=:all: \
    --platform "$2" --target "${TMPDIR:-/tmp}/ccb-none" --report - "$1" 2>/dev/null) || return 1
  python3 -c 'import json, sys; print(json.load(sys.stdin)["install"][0]["download_info"]["archive_info"]["hashes"]["sha256"])' <<<"$answer"
}

# wheel_versions: prints the versions of the wheel, the newest first.
wheel_versions() {
  timeout 60 python3 -m pip index versions "${CLI_WHEEL%%==*}" 2>/dev/null | sed -n 's/^Available versions: //p' | tr -d ' ' | tr ',' '\n'
}

# cli_version BINARY: prints the version of a CLI.
cli_version() { timeout 60 "$1" --version | awk 'NR == 1 { print $1 }'; }
