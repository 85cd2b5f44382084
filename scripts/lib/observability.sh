# shellcheck shell=bash
# Monitoring: Prometheus beside the services. Sourced, never run.

PROMETHEUS_PORT=${CCB_PROMETHEUS_PORT:-9090}

# check_observability: checks the token with which Prometheus reads the metrics. With a token file both services refuse a
# Prometheus without one, and the dashboard would stay empty.
check_observability() {
  local file=${CCB_METRICS_TOKEN_FILE:-}
  if [ -z "$file" ]; then
    [ -z "${CCB_ACCESS_DIR:-}" ] || fail_with 64 "--observability needs a token to read the metrics, because CCB_ACCESS_DIR is set" \
      "make one, in another folder: scripts/ccb token new prometheus --role metrics --out metrics.token --add '$CCB_ACCESS_DIR/tokens.toml'" \
      "then set CCB_METRICS_TOKEN_FILE to the path of metrics.token"
    return 0
  fi
  file=$(compose_path "$file")
  [ -f "$file" ] || fail_with 64 "CCB_METRICS_TOKEN_FILE is not a file: $file" "name the file of a token with the role metrics"
  file=$(cd "$(dirname "$file")" && pwd -P)/$(basename "$file")
  secret_place CCB_METRICS_TOKEN_FILE "$file"
  need_readable CCB_METRICS_TOKEN_FILE "$file"
  export CCB_METRICS_TOKEN_FILE=$file
}

# observability_words: prints where Prometheus is.
observability_words() {
  say "Prometheus: http://127.0.0.1:$PROMETHEUS_PORT (targets, alerts). docs/operations.md, \"Prometheus and Grafana\", has the dashboard"
}
