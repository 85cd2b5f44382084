//! The credentials in this service's own environment, which `credentials` should hold instead.

use super::Environment;
use super::names::{MODEL_ACCESS, PROXIES, SECRETS};

/// The last word of the name of a variable that is likely to hold a credential.
const CREDENTIAL_WORDS: [&str; 6] = [
    "KEY",
    "TOKEN",
    "SECRET",
    "PASSWORD",
    "CREDENTIAL",
    "CREDENTIALS",
];

impl Environment {
    /// Returns the names of the variables of this service that hold a credential, or name its file:
    /// credentials of the model, proxies with a password, and names of `--pass-env` that look like
    /// a credential. Sorted by name; empty if there are none.
    #[must_use]
    pub fn credentials_in_box(&self) -> Vec<String> {
        let is_set = |name: &&str| self.vars.contains_key(*name);
        let model = SECRETS.into_iter().chain(MODEL_ACCESS).filter(is_set);
        let proxies = PROXIES
            .into_iter()
            .flat_map(|(upper, lower)| [upper, lower]);
        let proxies = proxies.filter(|name| self.get(name).is_some_and(has_password));
        let passed = self.passed.iter().map(String::as_str).filter(is_set);
        let passed = passed.filter(|name| names_credential(name));
        let mut names: Vec<_> = model
            .chain(proxies)
            .chain(passed)
            .map(str::to_owned)
            .collect();
        names.extend(self.files.iter().map(|(name, _)| format!("{name}_FILE")));
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Returns whether the URL of a proxy has a password.
fn has_password(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    let user = authority.rsplit_once('@').map(|(user, _)| user);
    let password = user.and_then(|user| user.split_once(':'));
    password.is_some_and(|(_, password)| !password.is_empty())
}

/// Returns whether the name of a variable ends like that of a credential, such as `GITHUB_TOKEN`.
fn names_credential(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    CREDENTIAL_WORDS.iter().any(|word| upper.ends_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_with_a_credential_is_named_and_no_other() {
        let environment = |vars: &[(&str, &str)]| {
            let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            let passed = ["GITHUB_TOKEN", "DEBUG_LEVEL"].map(str::to_owned);
            Environment::new(vars, &passed).credentials_in_box()
        };
        let clean = [
            ("PATH", "/bin"),
            ("DEBUG_LEVEL", "7"),
            ("ANTHROPIC_API_KEY", ""),
            ("HTTPS_PROXY", "http://proxy:3128"),
            ("http_proxy", "http://user@proxy:3128"),
            ("NOT_PASSED_TOKEN", "x"),
        ];
        assert_eq!(environment(&clean), [""; 0]);
        for (name, value) in [
            ("ANTHROPIC_API_KEY", "k"),
            ("CLAUDE_CODE_OAUTH_TOKEN", "t"),
            ("ANTHROPIC_AUTH_TOKEN_FILE", "/none"),
            ("ANTHROPIC_CUSTOM_HEADERS", "x: y"),
            ("AWS_BEARER_TOKEN_BEDROCK", "b"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/g"),
            ("GITHUB_TOKEN", "g"),
            ("https_proxy", "http://user:p%40ss@proxy:3128/"),
            ("ALL_PROXY", "user:pass@proxy:3128"),
        ] {
            assert_eq!(environment(&[(name, value)]), [name]);
        }
    }
}
