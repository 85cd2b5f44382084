//! The names of the environment variables of the CLI: those that are passed to it, its defaults,
//! and those that decide how it reaches the model and with what credential.

/// Names of the service's variables that are passed to the CLI because they describe the machine
/// and the user: search path, home, locale, time zone, temporary folder.
pub(super) const INHERITED_MACHINE: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TERM",
    "IS_SANDBOX",
];

/// Names of the service's variables that are passed to the CLI because the CLI itself reads them:
/// credentials, endpoints, models, proxies, certificates.
pub(super) const INHERITED_CLI: [&str; 33] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "ANTHROPIC_DEFAULT_HAIKU_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_TMPDIR",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "AWS_REGION",
    "AWS_BEARER_TOKEN_BEDROCK",
    "CLOUD_ML_REGION",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "MAX_THINKING_TOKENS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK",
];

/// Variables, as name and value, that the CLI gets unless the operator's environment sets them.
/// Their effects were measured with the pinned version of the CLI.
pub(super) const DEFAULTS: [(&str, &str); 12] = [
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    // The CLI then exits after one result. With background tasks it could live ten minutes longer.
    ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
    // The CLI's stream watchdog would discard an answer that was paused for 300 s. claude-api has
    // its own idle timeout.
    ("CLAUDE_STREAM_IDLE_TIMEOUT_MS", "7200000"),
    // A second watchdog, for bytes, has the same limit, but at most 30 minutes.
    ("CLAUDE_ENABLE_BYTE_WATCHDOG", "0"),
    // By default the CLI retries with a refused credential for 175 s.
    ("CLAUDE_CODE_MAX_RETRIES", "3"),
    ("API_TIMEOUT_MS", "600000"),
    ("MCP_TIMEOUT", "30000"),
    ("BASH_DEFAULT_TIMEOUT_MS", "120000"),
    ("BASH_MAX_TIMEOUT_MS", "600000"),
];

/// The proxy settings, each with the two names under which programs read it. If both are set, the
/// lower-case name wins, as in the CLI and in curl.
pub(super) const PROXIES: [(&str, &str); 3] = [
    ("HTTP_PROXY", "http_proxy"),
    ("HTTPS_PROXY", "https_proxy"),
    ("ALL_PROXY", "all_proxy"),
];
/// The two names of the variable that lists the hosts to reach without a proxy, separated by
/// commas.
pub(super) const NO_PROXY: (&str, &str) = ("NO_PROXY", "no_proxy");
/// The variables that hold a credential of the model, in the CLI's order of precedence. For each,
/// `NAME_FILE` may name a file with the credential instead.
pub(super) const SECRETS: [&str; 3] = [
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_AUTH_TOKEN",
];
/// Further variables that are withheld from hooks, in addition to [`SECRETS`]. They hold a
/// credential of the model, name its file, or may contain one.
pub(super) const MODEL_ACCESS: [&str; 3] = [
    "ANTHROPIC_CUSTOM_HEADERS",
    "AWS_BEARER_TOKEN_BEDROCK",
    "GOOGLE_APPLICATION_CREDENTIALS",
];
