//! The environment of a CLI that has a grant: it sends its requests to `credentials`, and gets a
//! grant in place of the credential.

use std::collections::BTreeMap;

use grants::{CredentialKind, Grant};

use super::names::{MODEL_ACCESS, NO_PROXY, SECRETS};
use crate::config::CredentialsUrl;

/// The variable with the URL to which the CLI sends its requests.
const BASE_URL: &str = "ANTHROPIC_BASE_URL";
/// The variables with which the CLI would use another provider of the model, and so go past
/// `credentials`.
const PROVIDERS: [&str; 2] = ["CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX"];

/// The access of one execution's CLI to the model through `credentials`. Its `Debug` output hides
/// the grant.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// The URL to which the CLI sends its requests.
    pub url: &'a CredentialsUrl,
    /// The kind of the credential. It decides the variable that gets the grant, because the CLI
    /// sends different headers for each.
    pub kind: CredentialKind,
    /// The secret that the CLI gets in place of the credential.
    pub grant: &'a Grant,
}

/// Removes everything from `vars` that gives access to the model.
pub(super) fn withhold_access(vars: &mut BTreeMap<String, String>) {
    for name in SECRETS.iter().chain(&MODEL_ACCESS).chain(&PROVIDERS) {
        vars.remove(*name);
    }
}

impl Granted<'_> {
    /// Adds the grant and the URL to `vars`. They replace variables of a client with these names.
    pub(super) fn add_to(&self, vars: &mut BTreeMap<String, String>) {
        let grant = self.grant.expose().to_owned();
        vars.insert(self.kind.variable().to_owned(), grant);
        self.add_endpoint_to(vars);
    }

    /// Adds the URL to `vars`, and its host to the hosts without a proxy: a proxy would read the
    /// grant.
    pub(super) fn add_endpoint_to(&self, vars: &mut BTreeMap<String, String>) {
        vars.insert(BASE_URL.to_owned(), self.url.base().to_owned());
        let list = vars.entry(NO_PROXY.0.to_owned()).or_default();
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(self.url.host());
    }

    /// Returns the variables that keep the CLI's requests on their way to `credentials`, out of
    /// those in `endpoints`.
    pub(super) fn pinned(&self, endpoints: BTreeMap<String, String>) -> BTreeMap<String, String> {
        let names = [BASE_URL, NO_PROXY.0, NO_PROXY.1];
        let mut pinned = endpoints;
        pinned.retain(|name, _| names.contains(&name.as_str()));
        pinned
    }
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Environment::new(vars, &["EXTRA".to_owned()])
    }

    fn seen(
        environment: &Environment,
        client: &[(&str, &str)],
        granted: Granted<'_>,
    ) -> BTreeMap<String, String> {
        let client = client
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let vars = environment.for_execution(&client.collect(), Some(&granted));
        vars.into_iter().collect()
    }

    #[test]
    fn a_granted_cli_has_the_grant_and_no_other_credential() {
        let dir = tempfile::tempdir().unwrap();
        let key = dir.path().join("key");
        std::fs::write(&key, "secret-of-a-file").unwrap();
        let environment = environment(&[
            ("ANTHROPIC_API_KEY_FILE", key.to_str().unwrap()),
            ("ANTHROPIC_AUTH_TOKEN", "secret-token"),
            ("ANTHROPIC_CUSTOM_HEADERS", "x-key: secret-header"),
            ("ANTHROPIC_BASE_URL", "https://gateway.example"),
            ("AWS_BEARER_TOKEN_BEDROCK", "secret-bedrock"),
            ("CLAUDE_CODE_USE_BEDROCK", "1"),
        ]);
        let url = CredentialsUrl::parse("http://credentials:8005").unwrap();
        let grant = Grant::random().unwrap();
        for kind in [
            CredentialKind::ApiKey,
            CredentialKind::OauthToken,
            CredentialKind::AuthToken,
        ] {
            let (url, grant) = (&url, &grant);
            let vars = seen(&environment, &[], Granted { url, kind, grant });
            assert_eq!(vars["ANTHROPIC_BASE_URL"], "http://credentials:8005");
            assert_eq!(vars[kind.variable()], grant.expose());
            let others = SECRETS.iter().chain(&MODEL_ACCESS).chain(&PROVIDERS);
            for name in others.filter(|name| **name != kind.variable()) {
                assert_eq!(vars.get(*name), None, "{name}");
            }
            assert!(!vars.values().any(|value| value.contains("secret")));
        }
    }

    #[test]
    fn a_granted_cli_reaches_credentials_without_a_proxy_whatever_the_client_sets() {
        let url = CredentialsUrl::parse("http://credentials:8005").unwrap();
        let (grant, kind) = (Grant::random().unwrap(), CredentialKind::ApiKey);
        let granted = Granted {
            url: &url,
            kind,
            grant: &grant,
        };
        let proxied = environment(&[("HTTP_PROXY", "http://proxy:3128"), ("NO_PROXY", ".corp")]);
        for (environment, client, kept) in [
            (environment(&[]), &[][..], None),
            (proxied.clone(), &[], Some(".corp")),
            (proxied, &[("no_proxy", "other")], Some("other")),
            (
                environment(&[]),
                &[("https_proxy", "http://x:1"), ("NO_PROXY", "*.y")],
                Some("*.y"),
            ),
            (
                environment(&[]),
                &[("ANTHROPIC_BASE_URL", "http://x")],
                None,
            ),
        ] {
            let vars = seen(&environment, client, granted);
            assert_eq!(vars["NO_PROXY"], vars["no_proxy"]);
            let hosts: Vec<_> = vars["NO_PROXY"].split(',').collect();
            for host in ["credentials"].into_iter().chain(kept) {
                assert!(hosts.contains(&host), "{host}: {hosts:?}");
            }
            assert_eq!(vars["ANTHROPIC_BASE_URL"], "http://credentials:8005");
            let endpoints = environment.endpoints(Some(&granted));
            assert_eq!(endpoints["ANTHROPIC_BASE_URL"], "http://credentials:8005");
            assert!(endpoints["no_proxy"].contains("credentials"));
            assert!(!format!("{endpoints:?} {granted:?}").contains(grant.expose()));
        }
    }
}
