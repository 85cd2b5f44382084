# shellcheck shell=bash
# Runs a copy of scripts/up with a stand-in for the engine, which builds nothing. Sourced by up-check, access-check and
# credential-check.

work=$(mktemp -d "${TMPDIR:-/tmp}/ccb-up.XXXXXX")
repository=$work/repository
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/home" "$repository/docs"
cp -r "$ROOT/scripts" "$ROOT/Cargo.toml" "$ROOT/Dockerfile" "$ROOT"/compose*.yaml "$repository/"
rm -f "$repository/compose.override.yaml"
cp "$ROOT/docs/operations.md" "$repository/docs/"
cat >"$work/bin/docker" <<'END_OF_DOCKER'
#!/bin/sh
echo "$*" >>"$RAN"
case $* in
  *' config --images claude-api bridge credentials scripted-model') echo cc-bridge/bridge:there cc-bridge/claude-api:there cc-bridge/credentials:there | tr ' ' '\n' ;;
  'image inspect '*) [ "${CCB_TAG:-}" != gone ] ;;
  *compose.override.yaml*' config '*) ! grep -q 'services: \[' "$REPOSITORY/compose.override.yaml" ||
    { echo the stand-in cannot read compose.override.yaml >&2; exit 15; } ;;
  *compose.yaml*' config '*) [ "${CCB_PIDS:-1}" != x ] || { echo pids >&2; exit 15; } ;;
  *' build') echo "credentials runs as ${CCB_CREDENTIALS_UID:-10003}:${CCB_CREDENTIALS_GID:-10003}" >>"$RAN"
    echo the stand-in builds nothing; exit 1 ;;
esac
END_OF_DOCKER
# No Rust that fits: nothing is compiled.
printf '#!/bin/sh\nexit 1\n' >"$work/bin/rustc"
chmod +x "$work"/bin/*
export RAN=$work/ran REPOSITORY=$repository
# The way in which `up` starts the services: --demo, or empty.
MODE=--demo
unset "${!CLAUDE_API_@}" "${!BRIDGE_@}" "${!CREDENTIALS_@}" "${!ANTHROPIC_@}" CLAUDE_CODE_OAUTH_TOKEN

# up [NAME=VALUE...] [ARGS...]: runs scripts/up with these settings; sets said to its output and code to its exit code.
up() {
  local settings=()
  while [[ ${1:-} = *=* ]]; do settings+=("$1"); shift; done
  : >"$RAN"
  code=0
  said=$(env -u CCB_CLAUDE_API_PORT -u CCB_BRIDGE_PORT -u CCB_MODEL_PORT -u CCB_PUBLISH -u CCB_UID -u CCB_GID -u CCB_OVERRIDE \
    -u CCB_ACCESS_DIR -u CCB_TLS_DIR -u CCB_TLS_PORT -u CCB_TLS_PUBLISH -u CCB_PUBLIC_NAME -u CCB_PROMETHEUS_PORT -u CCB_METRICS_TOKEN_FILE -u CCB_WORKSPACE -u CCB_CREDENTIAL_IN_BOX -u CCB_CREDENTIALS_UID -u CCB_CREDENTIALS_GID -u CCB_CLI_HOME -u XDG_CACHE_HOME -u XDG_STATE_HOME -u CCB_VERBOSE PATH="$work/bin:$PATH" HOME="$work/home" \
    CCB_ENV_FILE=none CCB_PROJECT=p ${settings[@]+"${settings[@]}"} "$repository/scripts/up" $MODE --compile inside "$@" 2>&1 </dev/null) || code=$?
}
says() { grep -qF -- "$1" <<<"$said" || fail "scripts/up does not say: $1" "$said"; }
# refuses WORDS: checks that scripts/up ended with code 64 and these words, and built nothing.
refuses() {
  [ "$code" -eq 64 ] || fail "exit code $code, not 64, for: $1" "$said"
  says "$1"
  if grep -q ' build$' "$RAN"; then fail "something was built before: $1" "$said"; fi
}
# builds WHAT: checks that scripts/up accepted the settings.
builds() { grep -q ' build$' "$RAN" || fail "$1: nothing is built" "$said"; }
