//! Settings for the connection to `credentials`, the service that holds the credential of the model
//! outside of this service's container.

use clap::Args;
use http::Uri;

/// The flags for the connection to `credentials`.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Credentials")]
pub struct CredentialsArgs {
    /// URL at which the CLI reaches the service credentials, like http://credentials:8005. The CLI
    /// then gets a grant in place of the credential. Without it, the CLI gets the credential of
    /// this service's own environment
    #[arg(long, env = "CLAUDE_API_CREDENTIALS_URL", value_name = "URL")]
    credentials_url: Option<String>,
    /// Port on which the service credentials connects to this service; 0 picks a free one and logs
    /// it. Only used with --credentials-url
    #[arg(
        long,
        env = "CLAUDE_API_CREDENTIALS_PORT",
        value_name = "PORT",
        default_value_t = 8006
    )]
    pub credentials_port: u16,
    /// Whether Compose gives the credential to this container: 1, or empty. Only compose.yaml sets
    /// it; this service checks its value, because Compose takes every text as a yes
    #[arg(
        long,
        env = "CCB_CREDENTIAL_IN_BOX",
        value_name = "1",
        default_value = "",
        hide = true
    )]
    credential_in_box: String,
}

/// The URL of `credentials`: `http://`, a host and usually a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsUrl {
    base: String,
    host: String,
}

impl CredentialsUrl {
    /// Parses the URL, with or without a slash at its end.
    ///
    /// # Errors
    /// The text is not such a URL; the error says what to write.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mistake = || {
            // The text before `@` may be a password.
            let shown = text.rsplit('@').next().unwrap_or_default();
            format!(
                "--credentials-url (CLAUDE_API_CREDENTIALS_URL) {shown:?}: give http://, a host \
                 and a port without a user or a path, like http://credentials:8005"
            )
        };
        let uri: Uri = text.trim().parse().map_err(|_| mistake())?;
        let authority = uri.authority().ok_or_else(mistake)?;
        let host = authority.host().trim_matches(['[', ']']);
        let is_plain = uri.scheme_str() == Some("http")
            && uri.path_and_query().is_none_or(|path| path == "/")
            && !authority.as_str().contains('@')
            && !host.is_empty();
        if !is_plain {
            return Err(mistake());
        }
        Ok(Self {
            base: format!("http://{authority}"),
            host: host.to_owned(),
        })
    }

    /// Returns the URL without a slash at its end, for `ANTHROPIC_BASE_URL` of the CLI.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Returns the host name or IP address, without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }
}

impl CredentialsArgs {
    /// Parses the URL and compares the port with the service's other ports `others`. Returns the
    /// URL if one is set; an empty text counts as not set. Adds each mistake to `mistakes`.
    pub(super) fn check(
        &self,
        others: impl IntoIterator<Item = u16>,
        mistakes: &mut Vec<String>,
    ) -> Option<CredentialsUrl> {
        if !matches!(&self.credential_in_box[..], "" | "1") {
            mistakes.push(format!(
                "CCB_CREDENTIAL_IN_BOX={:?} is neither 1 nor empty; unset it, so that only the \
                 container credentials has the credential",
                self.credential_in_box
            ));
        }
        let text = self.credentials_url.as_deref();
        let text = text.filter(|text| !text.trim().is_empty())?;
        let port = self.credentials_port;
        if port != 0 && others.into_iter().any(|other| other == port) {
            mistakes.push(format!(
                "--credentials-port (CLAUDE_API_CREDENTIALS_PORT) {port} is also another port of \
                 this service; choose a different one"
            ));
        }
        CredentialsUrl::parse(text)
            .map_err(|mistake| mistakes.push(mistake))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::{Cli, Settings};

    fn check(flags: &[&str]) -> Result<Settings, Vec<String>> {
        let cli = Cli::parse_from(std::iter::once(&"claude-api").chain(flags));
        Settings::check(cli.serve, Vec::new())
    }

    #[test]
    fn a_url_is_a_scheme_a_host_and_a_port() {
        for (text, base, host) in [
            (
                "http://credentials:8005",
                "http://credentials:8005",
                "credentials",
            ),
            ("http://127.0.0.2:80/", "http://127.0.0.2:80", "127.0.0.2"),
            ("http://[fd00::2]:8005", "http://[fd00::2]:8005", "fd00::2"),
        ] {
            let url = CredentialsUrl::parse(text).unwrap();
            assert_eq!((url.base(), url.host()), (base, host), "{text}");
        }
        for text in [
            "credentials:8005",
            "https://credentials:8005",
            "http://user:secret@credentials",
            "http://credentials/v1",
            "http://credentials?x",
            "http:///",
            "x y",
        ] {
            let mistake = CredentialsUrl::parse(text).expect_err(text);
            assert!(!mistake.contains("secret"), "{mistake}");
        }
    }

    #[test]
    fn an_empty_url_counts_as_not_set() {
        for flags in [&[][..], &["--credentials-url="], &["--credentials-url= "]] {
            assert_eq!(check(flags).unwrap().credentials, None, "{flags:?}");
        }
    }

    /// Compose takes every text that is not empty as a yes.
    #[test]
    fn the_credential_is_in_the_box_with_1_alone() {
        for (value, is_valid) in [("", true), ("1", true), ("0", false), ("false", false)] {
            let flag = format!("--credential-in-box={value}");
            let checked = check(&[&flag]);
            assert_eq!(checked.is_ok(), is_valid, "{value}");
            let named = |mistakes: Vec<String>| mistakes[0].contains("CCB_CREDENTIAL_IN_BOX");
            assert!(checked.err().is_none_or(named));
        }
    }

    #[test]
    fn a_bad_url_and_a_port_in_use_are_reported_together() {
        let flags = ["--credentials-url=x", "--credentials-port=8002"];
        let mistakes = check(&flags).unwrap_err();
        assert_eq!(mistakes.len(), 2, "{mistakes:?}");
        let url = "--credentials-url=http://credentials:8005";
        let proxy = ["--proxy-port=8006", url];
        assert_eq!(check(&proxy).unwrap_err().len(), 1);
        let free = ["--port=0", "--credentials-port=0", url];
        assert!(check(&free).unwrap().credentials.is_some());
    }
}
