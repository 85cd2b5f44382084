//! Settings for network access to the service. They say where the host publishes it, who is
//! authenticated, and which proxies and bridges it knows. They also say whether requests from its
//! own container are refused.

use std::net::IpAddr;
use std::path::PathBuf;

use addresses::ProxyList;
use clap::builder::BoolishValueParser;
use clap::{ArgAction, Args};

/// The host name of the bridge in the Compose project, which a boxed service knows by default.
const BRIDGE: &str = "bridge";

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
    /// address but loopback needs --tokens-file or --allow-unauthenticated
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
    /// File of access tokens (TOML). With it, every request but those for health pages needs a
    /// token. A missing or empty file admits nobody
    #[arg(long, env = "CLAUDE_API_TOKENS_FILE", value_name = "FILE")]
    pub tokens_file: Option<PathBuf>,
    /// Run executions of several principals although the sandbox is off or incomplete: commands of
    /// one can then act on executions of another
    #[arg(
        long,
        env = "CLAUDE_API_PRINCIPALS_SHARE_A_BOX",
        value_name = "BOOL",
        default_value_t = false,
        default_missing_value = "true",
        num_args = 0..=1,
        require_equals = true,
        action = ArgAction::Set,
        value_parser = BoolishValueParser::new()
    )]
    pub principals_share_a_box: bool,
    /// Allow any address without access tokens, although everybody who reaches it may run prompts
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
    /// Reverse proxies whose X-Forwarded-For names the client, separated by commas: networks
    /// (10.0.0.0/8), addresses or host names. From others the header is ignored
    #[arg(
        long,
        env = "CLAUDE_API_TRUSTED_PROXIES",
        value_name = "LIST",
        default_value = "",
        hide_default_value = true,
        value_parser = |text: &str| text.parse::<ProxyList>()
    )]
    pub trusted_proxies: ProxyList,
    /// Second port to listen on, for a reverse proxy on this machine: every request there needs
    /// X-Forwarded-For, which is believed. Never publish this port
    #[arg(long, env = "CLAUDE_API_PROXY_PORT", value_name = "PORT")]
    pub proxy_port: Option<u16>,
    /// Host names or addresses of bridges, separated by commas: limits for each peer do not apply
    /// to them (default with --boxed: bridge)
    #[arg(
        long,
        env = "CLAUDE_API_BRIDGE_HOSTS",
        value_name = "LIST",
        value_delimiter = ','
    )]
    bridge_hosts: Option<Vec<String>>,
}

impl NetworkArgs {
    /// Returns whether clients are authenticated: then every request needs an access token.
    pub(crate) fn has_tokens(&self) -> bool {
        self.tokens_file.is_some()
    }

    /// Returns the host names and addresses of the bridges. Without the setting, a boxed service
    /// knows the bridge of the Compose project, and any other service knows none.
    pub(crate) fn bridge_hosts(&self) -> Vec<String> {
        let default = || self.boxed.then(|| BRIDGE.to_owned());
        let hosts = self.bridge_hosts.clone();
        hosts.unwrap_or_else(|| default().into_iter().collect())
    }

    /// Checks that other machines cannot use the service by accident. `host` is the address on
    /// which the service listens. Clients reach it there, or on the published address if there is
    /// one. Returns the error text if that address is not loopback, clients need no token, and
    /// `--allow-unauthenticated` is not set. `None` if the settings are safe.
    pub(super) fn check(&self, host: IpAddr) -> Option<String> {
        let address = self.published_on.unwrap_or(host).to_canonical();
        if address.is_loopback() || self.has_tokens() || self.allow_unauthenticated {
            return None;
        }
        let (setting, loopback) = match self.published_on {
            Some(_) => (
                format!("--published-on {address} (CCB_PUBLISH)"),
                "leave CCB_PUBLISH at 127.0.0.1",
            ),
            None => (
                format!("--host {address} (CLAUDE_API_HOST)"),
                "leave --host at 127.0.0.1, or in a container give the address of the host on \
                 which its port is published (CLAUDE_API_PUBLISHED_ON=127.0.0.1)",
            ),
        };
        Some(format!(
            "{setting} opens the service to other machines, and no client needs a token: everybody \
             who reaches the port may run prompts. There are three ways out. 1. Give every client \
             an access token, and the file of their hashes with CLAUDE_API_TOKENS_FILE \
             (--tokens-file). 2. Stay on loopback: {loopback}, and connect by SSH or through a \
             reverse proxy on this machine that authenticates its users. 3. If a firewall limits \
             access to the port, set CLAUDE_API_ALLOW_UNAUTHENTICATED=true \
             (--allow-unauthenticated)"
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

    fn bridges(flags: &[&str]) -> Vec<String> {
        check(flags).unwrap().args.network.bridge_hosts()
    }

    #[test]
    fn the_limits_say_whether_the_service_is_boxed_and_has_tokens() {
        for (flags, boxed, tokens) in [
            (&[][..], false, false),
            (&["--boxed"], true, false),
            (&["--boxed=true", "--tokens-file=/none"], true, true),
            (&["--boxed=false"], false, false),
            (&["--tokens-file", "x"], false, true),
        ] {
            let limits = check(flags).unwrap().limits;
            assert_eq!((limits.boxed, limits.tokens), (boxed, tokens), "{flags:?}");
        }
    }

    #[test]
    fn an_address_beyond_loopback_needs_tokens_or_allow_unauthenticated() {
        for address in ["127.0.0.1", "::1", "localhost", "[::1]", "::ffff:127.0.0.1"] {
            for flag in ["--published-on", "--host"] {
                assert!(check(&[&format!("{flag}={address}")]).is_ok(), "{address}");
            }
            // Clients reach the published address, not the one in the container.
            let published = format!("--published-on={address}");
            assert!(check(&["--host=0.0.0.0", &published]).is_ok(), "{address}");
        }
        for address in ["0.0.0.0", "::", "192.0.2.1", "::ffff:192.0.2.1"] {
            for (flag, name) in [
                ("--published-on", "CCB_PUBLISH"),
                ("--host", "CLAUDE_API_PUBLISHED_ON=127.0.0.1"),
            ] {
                let flag = format!("{flag}={address}");
                let mistakes = check(&[&flag]).unwrap_err();
                assert_eq!(mistakes.len(), 1, "{mistakes:?}");
                for word in [
                    name,
                    "127.0.0.1",
                    "CLAUDE_API_ALLOW_UNAUTHENTICATED=true",
                    "CLAUDE_API_TOKENS_FILE",
                ] {
                    assert!(mistakes[0].contains(word), "{word}: {mistakes:?}");
                }
                assert!(check(&[&flag, "--allow-unauthenticated"]).is_ok());
                assert!(check(&[&flag, "--tokens-file=/none"]).is_ok());
                assert!(check(&[&flag, "--allow-unauthenticated=false"]).is_err());
            }
        }
    }

    #[test]
    fn a_boxed_service_knows_the_bridge_of_compose_unless_others_are_named() {
        assert_eq!(bridges(&[]), [""; 0]);
        assert_eq!(bridges(&["--boxed"]), ["bridge"]);
        assert_eq!(bridges(&["--boxed", "--bridge-hosts=a,b"]), ["a", "b"]);
        assert_eq!(bridges(&["--bridge-hosts=10.0.0.1"]), ["10.0.0.1"]);
    }

    #[test]
    fn a_mistake_in_the_list_of_proxies_is_reported() {
        assert!(check(&["--trusted-proxies="]).is_ok());
        assert!(check(&["--trusted-proxies=10.0.0.0/8, proxy,::1"]).is_ok());
        let flags = ["claude-api", "--trusted-proxies=10.0.0.1/8"];
        let error = Cli::try_parse_from(flags).unwrap_err().to_string();
        assert!(error.contains("10.0.0.0/8"), "{error}");
    }
}
