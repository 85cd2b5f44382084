//! Settings for webhooks.

use std::path::PathBuf;

use clap::Args;
use protocol::webhook::WebhookHosts;

use super::secrets;

/// The flags for webhooks.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Webhooks")]
pub struct WebhookArgs {
    /// Receivers to which webhooks may be sent, separated by commas: HOST or HOST:PORT (default
    /// port 443). A name allows its public addresses; a private or loopback address must be on the
    /// list, too. Give claude-api the same list (CLAUDE_API_WEBHOOK_HOSTS)
    #[arg(
        long,
        env = "CREDENTIALS_WEBHOOK_HOSTS",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        value_parser = |text: &str| text.parse::<WebhookHosts>()
    )]
    pub webhook_hosts: WebhookHosts,
    /// File of the secrets that sign webhooks (TOML), by principal; read for each webhook
    #[arg(long, env = "CREDENTIALS_WEBHOOK_SECRETS_FILE", value_name = "FILE")]
    pub webhook_secrets_file: Option<PathBuf>,
    /// PEM file with certificates of authorities (CA) to trust for receivers, in addition to those
    /// of this machine. A receiver's own certificate is not trusted by it
    #[arg(long, env = "CREDENTIALS_WEBHOOK_CA", value_name = "FILE")]
    pub webhook_ca: Option<PathBuf>,
}

impl WebhookArgs {
    /// Checks the settings together, and returns the mistakes, each with its remedy. Reads the file
    /// of secrets.
    #[must_use]
    pub fn check(&self) -> Vec<String> {
        match &self.webhook_secrets_file {
            // An unused setting is not a mistake.
            _ if self.webhook_hosts.is_empty() => Vec::new(),
            None => vec![
                "--webhook-hosts (CREDENTIALS_WEBHOOK_HOSTS) needs --webhook-secrets-file \
                 (CREDENTIALS_WEBHOOK_SECRETS_FILE), because every webhook is signed"
                    .to_owned(),
            ],
            Some(path) => match secrets::check(path) {
                Ok(()) => Vec::new(),
                Err(error) => vec![format!("--webhook-secrets-file: {error}")],
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_need_a_file_of_secrets_that_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secrets.toml");
        let mut args = WebhookArgs {
            webhook_hosts: "hooks.example".parse().unwrap(),
            webhook_secrets_file: None,
            webhook_ca: None,
        };
        assert!(args.check()[0].contains("CREDENTIALS_WEBHOOK_SECRETS_FILE"));
        args.webhook_secrets_file = Some(file.clone());
        assert!(args.check()[0].contains("No such file"));
        std::fs::write(&file, "[default]\nsecrets = [\"x\"]").unwrap();
        assert!(args.check()[0].contains("whsec_"));
        let secret = protocol::webhook::WebhookSecret::generate().unwrap();
        std::fs::write(&file, format!("[default]\nsecrets = [\"{secret}\"]")).unwrap();
        assert_eq!(args.check(), [""; 0]);
        args.webhook_hosts = WebhookHosts::default();
        args.webhook_secrets_file = None;
        assert_eq!(args.check(), [""; 0]);
    }
}
