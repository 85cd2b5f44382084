//! The environment variables of the CLI: selected variables of the service, defaults, and variables
//! that the operator lets clients set. All other variables of the service are withheld.

mod credential;
mod granted;
mod in_box;
mod names;
mod proxies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use grants::read_secret;

pub use credential::Credential;
pub use granted::Granted;
use granted::withhold_access;
use names::{DEFAULTS, INHERITED_CLI, INHERITED_MACHINE, MODEL_ACCESS, NO_PROXY, PROXIES, SECRETS};
use proxies::align_proxies;

/// The URL of the model's API that the CLI uses unless `ANTHROPIC_BASE_URL` is set.
const ANTHROPIC: &str = "https://api.anthropic.com";

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
}
