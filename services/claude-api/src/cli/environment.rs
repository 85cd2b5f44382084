//! The environment variables of the CLI: selected variables of the service, defaults, and variables
//! that the operator lets clients set. All other variables of the service are withheld.

mod granted;
mod in_box;
mod names;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

use grants::CredentialKind;

pub use granted::Granted;
use granted::withhold_access;
use names::{MODEL_ACCESS, NO_PROXY, PROXIES, SECRETS};

/// Names of the service's variables that are passed to the CLI because they describe the machine
/// and the user: search path, home, locale, time zone, temporary folder.
const INHERITED_MACHINE: [&str; 12] = [
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
const INHERITED_CLI: [&str; 33] = [
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
const DEFAULTS: [(&str, &str); 12] = [
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

/// Hosts that are never reached through a proxy: this machine, and the services of compose.yaml.
/// They are added to `NO_PROXY` when a proxy is set.
const INNER_HOSTS: [&str; 5] = ["localhost", "127.0.0.1", "::1", "claude-api", "bridge"];
/// The URL of the model's API that the CLI uses unless `ANTHROPIC_BASE_URL` is set.
const ANTHROPIC: &str = "https://api.anthropic.com";

/// The maximum number of bytes that are read from a credential's file. A credential is one line, so
/// this bounds the memory if the path names a wrong file.
const SECRET_BYTES: u64 = 64 * 1024;

/// The environment variables with which every execution's CLI is started, before the client's own
/// are added. They are selected variables of the service, and defaults.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// The variables by name. None of them has an empty value.
    vars: BTreeMap<String, String>,
    /// The variables whose values are in files (`NAME_FILE`), with the path of each file. The files
    /// are read at each use, so the next execution uses a rotated credential.
    files: Vec<(&'static str, PathBuf)>,
    /// The names of variables that the operator passes in addition to the built-in lists.
    passed: Vec<String>,
}

/// Whether the CLI has a credential for the model, as far as it is known without a request to the
/// model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// The CLI has a credential, which may still be refused. The text identifies the credential
    /// without revealing it. A replaced file changes the text.
    Present(String),
    /// No variable, file or login of the CLI gives a credential.
    Missing,
    /// A file that `NAME_FILE` names cannot be read. The text has the file and the reason.
    Unreadable(String),
    /// A file that `NAME_FILE` names holds no usable credential. The text has the file and the
    /// reason, and repeats nothing of its content.
    Malformed(String),
}

impl Environment {
    /// Selects the CLI's variables from the service's own environment `own`, and adds defaults.
    /// `extra` are names that are passed in addition to the built-in lists.
    ///
    /// A variable that is set but empty counts as not set: `ANTHROPIC_API_KEY=""` means the CLI's
    /// own login. The credential may be in a file that `ANTHROPIC_API_KEY_FILE` (and so on) names.
    /// An empty file holds no credential.
    pub fn new(own: impl IntoIterator<Item = (String, String)>, extra: &[String]) -> Self {
        let is_passed = |name: &str| {
            INHERITED_MACHINE.contains(&name)
                || INHERITED_CLI.contains(&name)
                || DEFAULTS.iter().any(|(default, _)| *default == name)
                || extra.iter().any(|e| e == name)
        };
        let mut vars: BTreeMap<String, String> = DEFAULTS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (name, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            if is_passed(&name) {
                vars.insert(name, value);
            } else {
                named.insert(name, value.into());
            }
        }
        let files = SECRETS
            .into_iter()
            .filter(|name| !vars.contains_key(*name))
            .filter_map(|name| Some((name, named.remove(&format!("{name}_FILE"))?)))
            .collect();
        Self {
            vars,
            files,
            passed: extra.to_vec(),
        }
    }

    /// Returns the value of a variable of the CLI's environment. `None` if it is not set or is
    /// empty, or if it is a variable that the CLI does not get.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// Returns the complete environment of one execution's CLI, as names and values: this
    /// environment, the access to the model, and `client`, the variables that the client set. The
    /// client's win over this environment.
    ///
    /// With `granted`, the access is a grant, which wins over the client's variables. Without it,
    /// the access is the credential of this environment. A credential file that cannot be read is
    /// left out, and the CLI then reports that it is not logged in. Reads files.
    #[must_use]
    pub fn for_execution(
        &self,
        client: &BTreeMap<String, String>,
        granted: Option<&Granted<'_>>,
    ) -> Vec<(String, String)> {
        let mut vars = self.vars.clone();
        if granted.is_some() {
            withhold_access(&mut vars);
        } else {
            for (name, path) in &self.files {
                // `credential` reports a file that cannot be read. The CLI then answers that it is
                // not logged in.
                if let Ok(Some(secret)) = read_secret(path) {
                    vars.insert((*name).to_owned(), secret);
                }
            }
        }
        vars.extend(client.clone());
        if let Some(granted) = granted {
            granted.add_to(&mut vars);
        }
        align_proxies(&mut vars);
        vars.into_iter().collect()
    }

    /// Returns the environment of a hook (a program of the operator), as names and values. It is
    /// this environment without the credentials of the model. The variables of a client are not
    /// included, because they must not influence a program of the operator.
    #[must_use]
    pub fn for_hook(&self) -> Vec<(String, String)> {
        let mut vars = self.vars.clone();
        vars.retain(|name, _| {
            !(SECRETS.contains(&name.as_str()) || MODEL_ACCESS.contains(&name.as_str()))
        });
        align_proxies(&mut vars);
        vars.into_iter().collect()
    }

    /// Returns the variables that decide where the CLI sends its requests and the credential: the
    /// proxy settings, the hosts without a proxy, and `ANTHROPIC_BASE_URL`. A proxy variable that
    /// is not set has an empty value, so that a repository's settings cannot set it. With
    /// `granted`, the requests go to `credentials`. The grant itself is not among the values.
    #[must_use]
    pub fn endpoints(&self, granted: Option<&Granted<'_>>) -> BTreeMap<String, String> {
        let mut vars = self.vars.clone();
        if let Some(granted) = granted {
            granted.add_endpoint_to(&mut vars);
        }
        align_proxies(&mut vars);
        let mut endpoints = BTreeMap::new();
        let names = PROXIES.into_iter().chain([NO_PROXY]);
        for name in names.flat_map(|(upper, lower)| [upper, lower]) {
            let value = vars.get(name).cloned().unwrap_or_default();
            endpoints.insert(name.to_owned(), value);
        }
        let base = vars.get("ANTHROPIC_BASE_URL").map(String::as_str);
        let base = base.unwrap_or(ANTHROPIC).to_owned();
        endpoints.insert("ANTHROPIC_BASE_URL".to_owned(), base);
        endpoints
    }

    /// Returns the variables that keep the requests of a CLI with a grant on their way to
    /// `credentials`, for the settings that win over all others. Proxy variables, which may have a
    /// password, are not among them.
    #[must_use]
    pub fn pinned_endpoints(&self, granted: &Granted<'_>) -> BTreeMap<String, String> {
        granted.pinned(self.endpoints(Some(granted)))
    }

    /// Returns the path of the CLI's own configuration file, `.claude.json`. It is in the folder
    /// that `CLAUDE_CONFIG_DIR` names, or in the home folder if that is not set.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        match self.get("CLAUDE_CONFIG_DIR") {
            Some(dir) => Path::new(dir).join(".claude.json"),
            None => Path::new(self.get("HOME").unwrap_or("/")).join(".claude.json"),
        }
    }

    /// Returns the folders, one or two, that the CLI and its tools use for temporary files.
    #[must_use]
    pub fn temporary_dirs(&self) -> Vec<PathBuf> {
        let set = ["CLAUDE_CODE_TMPDIR", "TMPDIR"].map(|name| self.get(name).unwrap_or("/tmp"));
        let mut dirs: Vec<PathBuf> = set.map(PathBuf::from).to_vec();
        dirs.dedup();
        dirs
    }

    /// Returns the folder in which the CLI keeps its login, settings and transcripts:
    /// `CLAUDE_CONFIG_DIR`, or `.claude` in the home folder if that is not set.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        match self.get("CLAUDE_CONFIG_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(self.get("HOME").unwrap_or("/")).join(".claude"),
        }
    }

    /// Returns the path of the file in which the CLI keeps its own login.
    fn login_file(&self) -> PathBuf {
        self.config_dir().join(".credentials.json")
    }

    /// Returns whether the CLI would use its own login, because no variable and no file gives it
    /// another credential. Reads files.
    #[must_use]
    pub fn uses_login(&self) -> bool {
        let login = self.login_file().display().to_string();
        matches!(self.credential(), Credential::Present(name) if name.starts_with(&login))
    }

    /// Returns the kind of the credential in a variable or a file of this environment. `None` if
    /// the CLI has none, or uses its own login or another provider. Reads files.
    #[must_use]
    pub fn credential_kind(&self) -> Option<CredentialKind> {
        let Credential::Present(text) = self.credential() else {
            return None;
        };
        let kinds = [
            CredentialKind::ApiKey,
            CredentialKind::OauthToken,
            CredentialKind::AuthToken,
        ];
        // The text is the variable's name, or begins with `NAME_FILE`.
        let named = |kind: &CredentialKind| text.starts_with(kind.variable());
        kinds.into_iter().find(named)
    }

    /// Returns the credential that the CLI would use if it were started now, in the CLI's own order
    /// of precedence. A secret is returned only as a fingerprint. Reads files.
    #[must_use]
    pub fn credential(&self) -> Credential {
        let variable = |name: &str| self.get(name).map(|_| Credential::Present(name.to_owned()));
        let mut unusable = None;
        for name in SECRETS {
            if let Some(present) = variable(name) {
                return present;
            }
            let Some((_, path)) = self.files.iter().find(|(secret, _)| *secret == name) else {
                continue;
            };
            match read_secret(path) {
                Ok(None) => {}
                Ok(Some(secret)) => {
                    let mut hasher = DefaultHasher::new();
                    secret.hash(&mut hasher);
                    return Credential::Present(format!("{name}_FILE:{:x}", hasher.finish()));
                }
                Err(error) => {
                    let reason = format!("{name}_FILE, {}: {error}", path.display());
                    unusable.get_or_insert(match error {
                        SecretError::Io(_) => Credential::Unreadable(reason),
                        SecretError::Content(_) => Credential::Malformed(reason),
                    });
                }
            }
        }
        let cloud = ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"];
        if let Some(present) = cloud.into_iter().find_map(variable) {
            return present;
        }
        let login = self.login_file();
        match std::fs::metadata(&login) {
            Ok(meta) if meta.len() > 2 => Credential::Present(format!(
                "{}:{:?}:{}",
                login.display(),
                meta.modified().ok(),
                meta.len()
            )),
            _ => unusable.unwrap_or(Credential::Missing),
        }
    }
}

/// Sets the upper-case and the lower-case name of each proxy setting to the same value. If a proxy
/// is set, adds the inner hosts to the list of hosts without a proxy.
fn align_proxies(vars: &mut BTreeMap<String, String>) {
    let mut proxied = false;
    for (upper, lower) in PROXIES {
        let set = |name: &str| vars.get(name).filter(|value| !value.is_empty());
        let Some(value) = set(lower).or_else(|| set(upper)).cloned() else {
            continue;
        };
        proxied = true;
        vars.insert(upper.to_owned(), value.clone());
        vars.insert(lower.to_owned(), value);
    }
    let (upper, lower) = NO_PROXY;
    let mut hosts: Vec<String> = Vec::new();
    let mut add = |host: &str| {
        let host = host.trim();
        if !(host.is_empty() || hosts.iter().any(|known| known == host)) {
            hosts.push(host.to_owned());
        }
    };
    for name in [lower, upper] {
        let list = vars.get(name).map_or("", String::as_str);
        list.split(',').for_each(&mut add);
    }
    if proxied {
        INNER_HOSTS.into_iter().for_each(&mut add);
        let base = vars.get("ANTHROPIC_BASE_URL");
        if let Some(host) = base.and_then(|url| inner_host(url)) {
            add(&host);
        }
    }
    if !hosts.is_empty() {
        let list = hosts.join(",");
        vars.insert(upper.to_owned(), list.clone());
        vars.insert(lower.to_owned(), list);
    }
}

/// Returns the host of a URL if a proxy could not reach that host: a name without a dot, as
/// containers have, or a loopback address. `None` for any other host, and for a malformed URL.
fn inner_host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let is_inner = host
        .parse::<std::net::IpAddr>()
        .map_or(!host.contains('.'), |address| address.is_loopback());
    is_inner.then(|| host.to_owned())
}

/// The reason why the file of a credential cannot be used. The text never repeats the file's
/// content.
#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Content(&'static str),
}

/// Reads a credential from a file: the first line that is neither blank nor a comment (`#`),
/// without surrounding white space. `None` if there is no such line. Only the first 64 KiB are
/// read.
///
/// # Errors
/// The file cannot be read, or its line cannot be a credential: UTF-16, not UTF-8, `NAME=value`,
/// quotes, or characters that no credential has.
fn read_secret(path: &Path) -> Result<Option<String>, SecretError> {
    let file = std::fs::File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(SecretError::Content(
            "it is a folder: name the file (Docker makes a folder where a mounted file is missing)",
        ));
    }
    let mut bytes = Vec::new();
    file.take(SECRET_BYTES).read_to_end(&mut bytes)?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(SecretError::Content("it is UTF-16: save it as UTF-8"));
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| SecretError::Content("it is not text: save it as UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.lines().map(str::trim);
    let Some(line) = lines.find(|line| !(line.is_empty() || line.starts_with('#'))) else {
        return Ok(None);
    };
    if is_assignment(line) {
        return Err(SecretError::Content(
            "it holds NAME=value: write the value alone, without the name",
        ));
    }
    if line.starts_with(['"', '\'']) {
        return Err(SecretError::Content(
            "the value is in quotes: write it without them",
        ));
    }
    if !line.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(SecretError::Content(
            "the line has blanks or characters that no credential has: write the credential alone",
        ));
    }
    Ok(Some(line.to_owned()))
}

/// Returns whether a line looks like `NAME=value`, a common mistake in a credential's file. A
/// credential may end in `=`, but does not begin with a name in capitals and `=`.
fn is_assignment(line: &str) -> bool {
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, value)) = line.split_once('=') else {
        return false;
    };
    let name = name.trim();
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    let named = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_');
    named && name.chars().all(capital) && !value.trim_matches('=').trim().is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        Environment::new(
            vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())),
            &["EXTRA".to_owned()],
        )
    }

    #[test]
    fn only_named_variables_pass() {
        let env = environment(&[
            ("PATH", "/bin"),
            ("SECRET", "x"),
            ("EXTRA", "y"),
            ("CLAUDE_API_PORT", "1"),
            ("LD_PRELOAD", "z"),
            ("API_TIMEOUT_MS", "7"),
        ]);
        assert_eq!(env.get("PATH"), Some("/bin"));
        assert_eq!(env.get("EXTRA"), Some("y"));
        assert_eq!(env.get("API_TIMEOUT_MS"), Some("7"));
        for name in ["SECRET", "CLAUDE_API_PORT", "LD_PRELOAD"] {
            assert_eq!(env.get(name), None);
        }
        let whole = env.for_execution(&BTreeMap::from([("A".to_owned(), "b".to_owned())]), None);
        assert!(whole.contains(&("A".to_owned(), "b".to_owned())));
    }

    #[test]
    fn the_environment_of_a_hook_has_no_credential() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "from-a-file").unwrap();
        let env = environment(&[
            ("PATH", "/bin"),
            ("ANTHROPIC_API_KEY_FILE", key.to_str().unwrap()),
            ("CLAUDE_CODE_OAUTH_TOKEN", "a-secret"),
            ("ANTHROPIC_AUTH_TOKEN", "a-secret"),
            ("ANTHROPIC_CUSTOM_HEADERS", "x-key: a-secret"),
            ("AWS_BEARER_TOKEN_BEDROCK", "a-secret"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/a-secret"),
        ]);
        let vars = env.for_hook();
        assert!(vars.contains(&("PATH".to_owned(), "/bin".to_owned())));
        for (name, value) in vars {
            let leaked = value.contains("a-secret") || value.contains("from-a-file");
            assert!(!leaked, "{name}={value}");
        }
    }

    #[test]
    fn an_empty_key_means_the_login_of_the_cli() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().to_str().unwrap();
        let env = environment(&[("ANTHROPIC_API_KEY", ""), ("CLAUDE_CONFIG_DIR", dir)]);
        assert_eq!(env.get("ANTHROPIC_API_KEY"), None);
        assert_eq!(env.credential(), Credential::Missing);
        std::fs::write(home.path().join(".credentials.json"), r#"{"a":1}"#).unwrap();
        let first = env.credential();
        assert!(matches!(first, Credential::Present(_)));
        std::fs::write(home.path().join(".credentials.json"), r#"{"a":12}"#).unwrap();
        assert_ne!(env.credential(), first);
        assert_eq!(
            environment(&[("ANTHROPIC_API_KEY", "k")]).credential(),
            Credential::Present("ANTHROPIC_API_KEY".into())
        );
    }

    #[test]
    fn both_names_of_a_proxy_have_one_value_and_inner_hosts_have_no_proxy() {
        let both = |vars: &[(&str, &str)], client: &[(&str, &str)], name: &str| {
            let client = client
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            let all: BTreeMap<_, _> = environment(vars)
                .for_execution(&client.collect(), None)
                .into_iter()
                .collect();
            let upper = all.get(name).cloned();
            assert_eq!(all.get(&name.to_lowercase()).cloned(), upper, "{name}");
            upper
        };
        let proxy = Some("http://proxy:3128".to_owned());
        for name in ["HTTPS_PROXY", "https_proxy"] {
            let vars = [(name, "http://proxy:3128")];
            assert_eq!(both(&vars, &[], "HTTPS_PROXY"), proxy, "{name}");
        }
        assert_eq!(
            both(&[], &[("http_proxy", "http://proxy:3128")], "HTTP_PROXY"),
            proxy
        );
        // The variables that Docker's client configuration and compose.demo.yaml set together.
        let vars = [
            ("http_proxy", "http://proxy:3128"),
            ("no_proxy", ".corp, 10.0.0.1"),
            ("NO_PROXY", "127.0.0.1"),
            ("ANTHROPIC_BASE_URL", "http://scripted-model:8004"),
        ];
        let list = both(&vars, &[], "NO_PROXY").expect("a list");
        assert_eq!(
            list,
            ".corp,10.0.0.1,127.0.0.1,localhost,::1,claude-api,bridge,scripted-model"
        );
        let outer = [
            ("http_proxy", "http://proxy:3128"),
            ("ANTHROPIC_BASE_URL", "https://gateway.example/v1"),
        ];
        let list = both(&outer, &[], "NO_PROXY").expect("a list");
        assert!(!list.contains("gateway"), "{list}");
        assert_eq!(both(&[], &[], "NO_PROXY"), None, "no proxy, no exception");
        assert_eq!(inner_host("http://[::1]:8004").as_deref(), Some("::1"));
    }

    #[test]
    fn the_file_of_a_credential_gives_its_first_line_or_a_reason() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        let read = |bytes: &[u8]| {
            std::fs::write(&key, bytes).unwrap();
            read_secret(&key).map_err(|error| error.to_string())
        };
        for good in [
            &b"sk-ant-key\n"[..],
            b"\n \n\r\nsk-ant-key\r\n",
            b"# the key\nsk-ant-key\nmore\n",
            b"\xef\xbb\xbfsk-ant-key",
        ] {
            assert_eq!(read(good), Ok(Some("sk-ant-key".to_owned())));
        }
        assert_eq!(read(b"TOKEN=="), Ok(Some("TOKEN==".to_owned())));
        assert_eq!(read(b"\n# nothing\n"), Ok(None));
        for (bytes, part) in [
            (&b"ANTHROPIC_API_KEY=sk-secret\n"[..], "NAME=value"),
            (b"export KEY = sk-secret", "NAME=value"),
            (b"\xff\xfes\0k\0", "UTF-16"),
            (b"\xfe\xff\0s\0k", "UTF-16"),
            (b"sk-\xff\xff", "UTF-8"),
            (b"\"sk-secret\"", "quotes"),
            (b"sk-secret sk-other", "blanks"),
            (b"s\0k\0", "characters"),
        ] {
            let reason = read(bytes).expect_err("it is no credential");
            let is_right = reason.contains(part) && !reason.contains("secret");
            assert!(is_right, "{reason}");
        }
        let reason = read_secret(dir.path()).expect_err("a folder").to_string();
        assert!(reason.contains("folder"), "{reason}");
    }

    #[test]
    fn a_credential_in_a_file_is_read_for_each_execution() {
        let dir = tempfile::tempdir().unwrap();
        let (key, config) = (dir.path().join("key"), dir.path().to_str().unwrap());
        let file = key.to_str().unwrap();
        let env = environment(&[
            ("ANTHROPIC_API_KEY", ""),
            ("ANTHROPIC_API_KEY_FILE", file),
            ("CLAUDE_CONFIG_DIR", config),
        ]);
        let spawned = || {
            let vars = env.for_execution(&BTreeMap::new(), None);
            assert!(!vars.iter().any(|(name, _)| name.ends_with("_FILE")));
            vars.into_iter()
                .find(|(name, _)| name == "ANTHROPIC_API_KEY")
                .map(|(_, v)| v)
        };
        let Credential::Unreadable(reason) = env.credential() else {
            panic!("{:?}", env.credential())
        };
        assert!(reason.contains(file), "{reason}");
        assert_eq!(spawned(), None);

        std::fs::write(&key, "\n").unwrap();
        assert_eq!(env.credential(), Credential::Missing);
        std::fs::write(&key, " first \n").unwrap();
        let first = env.credential();
        assert!(matches!(&first, Credential::Present(text) if !text.contains("first")));
        assert_eq!(spawned().as_deref(), Some("first"));
        std::fs::write(&key, "other\n").unwrap();
        assert_eq!(spawned().as_deref(), Some("other"));
        assert_ne!(env.credential(), first);

        // The variable itself takes precedence over its file.
        let both = environment(&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_API_KEY_FILE", file)]);
        let vars = both.for_execution(&BTreeMap::new(), None);
        assert!(vars.contains(&("ANTHROPIC_API_KEY".to_owned(), "k".to_owned())));
    }
}
