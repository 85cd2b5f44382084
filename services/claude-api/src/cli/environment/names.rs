//! The names of the variables that decide how the CLI reaches the model, and with what credential.

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
