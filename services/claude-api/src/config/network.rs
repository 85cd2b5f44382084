//! Settings for network access to the service: the address and port at which the host publishes it,
//! and whether requests from its own container are refused.

use std::net::IpAddr;

use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// The flags for access to the service.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Refuse requests from this service's own container with 401 from-the-box, except for the
    /// health pages: commands of the model then cannot use the service. Set it if the service has a
    /// container of its own
    #[arg(
        long,
        env = "CLAUDE_API_BOXED",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub boxed: bool,
    /// Address of the host on which the ports of both services are published; set by Compose. Any
    /// address but loopback needs --allow-unauthenticated
    #[arg(
        long,
        env = "CLAUDE_API_PUBLISHED_ON",
        value_name = "ADDRESS",
        value_parser = protocol::guard::listen_address
    )]
    pub published_on: Option<IpAddr>,
    /// Port of the host on which this service is published; set by Compose. With --boxed, the start
    /// checks whether the container of this service reaches that port
    #[arg(long, env = "CLAUDE_API_PUBLISHED_PORT", value_name = "PORT")]
    pub published_port: Option<u16>,
    /// File with the tokens of clients (docs/operations.md); without it, everybody who reaches the
    /// service may do everything
    #[arg(long, env = "CLAUDE_API_TOKENS_FILE", value_name = "FILE")]
    pub tokens_file: Option<std::path::PathBuf>,
    /// Allow any published address, although everybody who reaches it may run prompts
    #[arg(
        long,
        env = "CLAUDE_API_ALLOW_UNAUTHENTICATED",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub allow_unauthenticated: bool,
}

impl NetworkArgs {
    /// Checks that other machines cannot reach the service by accident. Returns the error text if
    /// the published address is not loopback and `--allow-unauthenticated` is not set: the service
    /// has no authentication, so whoever reaches it may run prompts. `None` if the settings are
    /// safe.
    pub(super) fn check(&self) -> Option<String> {
        let address = self.published_on?.to_canonical();
        if address.is_loopback() || self.allow_unauthenticated {
            return None;
        }
        Some(format!(
            "--published-on {address} (CCB_PUBLISH) opens the ports to other machines, and this \
             version has no authentication: everybody who reaches a port may run prompts. Either \
             leave CCB_PUBLISH at 127.0.0.1 and connect by SSH, or through a reverse proxy on this \
             machine that authenticates its users. Or, if a firewall limits access to the port, \
             set CLAUDE_API_ALLOW_UNAUTHENTICATED=true (--allow-unauthenticated). Access tokens \
             are planned for a later version"
        ))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::config::{Cli, Settings};

    fn check(flags: &[&str]) -> Result<Settings, Vec<String>> {
        let cli = Cli::parse_from(std::iter::once(&"claude-api").chain(flags));
        Settings::check(cli.serve, Vec::new())
    }

    #[test]
    fn the_limits_say_whether_the_service_is_boxed() {
        for (flags, boxed) in [
            (&[][..], false),
            (&["--boxed"], true),
            (&["--boxed=true"], true),
            (&["--boxed=false"], false),
        ] {
            assert_eq!(check(flags).unwrap().limits.boxed, boxed, "{flags:?}");
        }
    }

    #[test]
    fn a_published_address_beyond_loopback_needs_allow_unauthenticated() {
        for address in ["127.0.0.1", "::1", "localhost", "[::1]", "::ffff:127.0.0.1"] {
            let flag = format!("--published-on={address}");
            assert!(check(&[&flag]).is_ok(), "{address}");
        }
        for address in ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"] {
            let flag = format!("--published-on={address}");
            let mistakes = check(&[&flag]).unwrap_err();
            assert_eq!(mistakes.len(), 1, "{mistakes:?}");
            for word in [
                "CCB_PUBLISH",
                "127.0.0.1",
                "CLAUDE_API_ALLOW_UNAUTHENTICATED",
                "tokens",
            ] {
                assert!(mistakes[0].contains(word), "{word}: {mistakes:?}");
            }
            assert!(check(&[&flag, "--allow-unauthenticated"]).is_ok());
            assert!(check(&[&flag, "--allow-unauthenticated=false"]).is_err());
        }
    }
}
