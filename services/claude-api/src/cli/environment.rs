//! The CLI's environment: named variables of the service's own, fixed ones, and what the operator lets clients set.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the CLI and its tools need of the machine.
const MACHINE: [&str; 12] = [
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

/// What the CLI itself knows: credentials, endpoints, proxies, certificates.
const KNOWN: [&str; 31] = [
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
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK",
];

/// What is set unless the operator's environment sets it otherwise. CLI.md gives the measurements.
const DEFAULTS: [(&str, &str); 12] = [
    ("DISABLE_TELEMETRY", "1"),
    ("DISABLE_AUTOUPDATER", "1"),
    ("DISABLE_ERROR_REPORTING", "1"),
    ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"),
    // One result, and no life of ten minutes after it.
    ("CLAUDE_CODE_DISABLE_BACKGROUND_TASKS", "1"),
    // Its stream watchdog would throw away an answer that was paused for 300 s; the idle timeout is ours.
    ("CLAUDE_STREAM_IDLE_TIMEOUT_MS", "7200000"),
    // A second one, for bytes, takes that limit too, but never more than 30 minutes of it.
    ("CLAUDE_ENABLE_BYTE_WATCHDOG", "0"),
    // A refused credential is retried for 175 s otherwise.
    ("CLAUDE_CODE_MAX_RETRIES", "3"),
    ("API_TIMEOUT_MS", "600000"),
    ("MCP_TIMEOUT", "30000"),
    ("BASH_DEFAULT_TIMEOUT_MS", "120000"),
    ("BASH_MAX_TIMEOUT_MS", "600000"),
];

/// Credentials that may be given as a file, by `NAME_FILE`, in the CLI's own order of precedence.
const SECRETS: [&str; 3] = [
    "ANTHROPIC_API_KEY",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "ANTHROPIC_AUTH_TOKEN",
];
/// A credential is a line; a file beyond this is something else, bytes.
const SECRET_BYTES: u64 = 64 * 1024;

/// The environment that every execution starts from.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, String>,
    /// Read again whenever they are needed, so that a rotated credential is used by the next execution.
    files: Vec<(&'static str, PathBuf)>,
}

/// What is known of the credential, without trying it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// There is one; the text changes when it does and tells nothing of it.
    Present(String),
    /// There is none.
    Missing,
    /// There is a file for one that cannot be used; says why, without anything of it.
    Unreadable(String),
}

impl Environment {
    /// Picks what the CLI gets out of the service's own environment; `extra` are more names to pass.
    ///
    /// A variable that is set but empty counts as not set: `ANTHROPIC_API_KEY=""` means the CLI's own login. A
    /// credential that is not set may be a file, named by `ANTHROPIC_API_KEY_FILE` and so on; an empty file is none.
    pub fn new(own: impl IntoIterator<Item = (String, String)>, extra: &[String]) -> Self {
        let wanted = |name: &str| {
            MACHINE.contains(&name)
                || KNOWN.contains(&name)
                || DEFAULTS.iter().any(|(default, _)| *default == name)
                || extra.iter().any(|e| e == name)
        };
        let mut vars: BTreeMap<String, String> = DEFAULTS
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let mut named: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (name, value) in own.into_iter().filter(|(_, value)| !value.is_empty()) {
            if wanted(&name) {
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
        Self { vars, files }
    }

    /// One variable.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.vars.get(name).map(String::as_str)
    }

    /// The whole environment of an execution: this one, credentials from files, and what the client set. Reads files.
    #[must_use]
    pub fn with(&self, client: &BTreeMap<String, String>) -> Vec<(String, String)> {
        let mut vars = self.vars.clone();
        for (name, path) in &self.files {
            // What cannot be read is told by `credential`; the CLI then says that it is not logged in.
            if let Ok(Some(secret)) = read_secret(path) {
                vars.insert((*name).to_owned(), secret);
            }
        }
        vars.extend(client.clone());
        vars.into_iter().collect()
    }

    /// Where the CLI keeps its login, settings and transcripts.
    #[must_use]
    pub fn config_dir(&self) -> PathBuf {
        match self.get("CLAUDE_CONFIG_DIR") {
            Some(dir) => PathBuf::from(dir),
            None => PathBuf::from(self.get("HOME").unwrap_or("/")).join(".claude"),
        }
    }

    /// Looks for a credential; reads files, and of a secret tells only whether it changed.
    #[must_use]
    pub fn credential(&self) -> Credential {
        let set = |name: &str| self.get(name).map(|_| Credential::Present(name.to_owned()));
        let mut unreadable = None;
        for name in SECRETS {
            if let Some(present) = set(name) {
                return present;
            }
            let Some((_, path)) = self.files.iter().find(|(of, _)| *of == name) else {
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
                    unreadable.get_or_insert(format!("{name}_FILE, {}: {error}", path.display()));
                }
            }
        }
        let cloud = ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"];
        if let Some(present) = cloud.into_iter().find_map(set) {
            return present;
        }
        let login = self.config_dir().join(".credentials.json");
        match std::fs::metadata(&login) {
            Ok(meta) if meta.len() > 2 => Credential::Present(format!(
                "{}:{:?}:{}",
                login.display(),
                meta.modified().ok(),
                meta.len()
            )),
            _ => unreadable.map_or(Credential::Missing, Credential::Unreadable),
        }
    }
}

/// The first line of a file, without white space around it; none when that is empty.
fn read_secret(path: &Path) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    std::fs::File::open(path)?
        .take(SECRET_BYTES)
        .read_to_string(&mut text)?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.contains('\0') {
        return Err(std::io::Error::other("it is not text"));
    }
    Ok((!line.is_empty()).then(|| line.to_owned()))
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
        let whole = env.with(&BTreeMap::from([("A".to_owned(), "b".to_owned())]));
        assert!(whole.contains(&("A".to_owned(), "b".to_owned())));
    }

    #[test]
    fn an_empty_key_means_the_clis_own_login() {
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
    fn a_credential_in_a_file_is_read_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (key, config) = (dir.path().join("key"), dir.path().to_str().unwrap());
        let file = key.to_str().unwrap();
        let env = environment(&[
            ("ANTHROPIC_API_KEY", ""),
            ("ANTHROPIC_API_KEY_FILE", file),
            ("CLAUDE_CONFIG_DIR", config),
        ]);
        let spawned = || {
            let vars = env.with(&BTreeMap::new());
            assert!(!vars.iter().any(|(name, _)| name.ends_with("_FILE")));
            vars.into_iter()
                .find(|(name, _)| name == "ANTHROPIC_API_KEY")
                .map(|(_, v)| v)
        };
        let Credential::Unreadable(why) = env.credential() else {
            panic!("{:?}", env.credential())
        };
        assert!(why.contains(file), "{why}");
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

        // The variable itself wins over its file.
        let both = environment(&[("ANTHROPIC_API_KEY", "k"), ("ANTHROPIC_API_KEY_FILE", file)]);
        let vars = both.with(&BTreeMap::new());
        assert!(vars.contains(&("ANTHROPIC_API_KEY".to_owned(), "k".to_owned())));
    }
}
