//! The missing protections of the sandbox, which are logged at the start and reported as `warnings`
//! of `/health/ready`.

use rustix::fs::{Access, access};

use crate::access::token_file::Rules;
use crate::cli::Environment;
use crate::config::ServeArgs;
use crate::readiness::Obstacle;

/// The UDP and TCP port of DNS.
const DNS_PORT: u32 = 53;

/// Returns a warning, with its remedy, for each protection of the sandbox that this machine or
/// these settings lack. `uses_login` says that the CLI would use its own login. Empty if none is
/// missing. Reads files.
pub(crate) fn warnings(args: &ServeArgs, uses_login: bool) -> Vec<Obstacle> {
    if !args.sandbox {
        return vec![Obstacle::new(
            "sandbox-off",
            "executions run unsandboxed: tools can use every file and signal every process of this \
             service's user",
            "set CLAUDE_API_SANDBOX=true",
        )];
    }
    let missing = runner::missing_protections().into_iter().map(|protection| {
        Obstacle::new(
            "sandbox-incomplete",
            protection.text(),
            "run a kernel of Linux 6.12 or later with Landlock, or trust every prompt",
        )
    });
    let login = uses_login.then(|| {
        Obstacle::new(
            "sandbox-login",
            "the CLI uses its own login, which it has to renew: tools can read and change the \
             whole home of this service, with the CLI's configuration and every transcript",
            "use CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) or ANTHROPIC_API_KEY",
        )
    });
    let first = std::process::id() == 1;
    let not_first = (!first).then(|| {
        Obstacle::new(
            "sandbox-not-pid-1",
            "claude-api is not PID 1 of a container, which the kernel protects from being killed \
             by processes of the container: only Landlock protects it",
            "run claude-api in its image, with `init: false`",
        )
    });
    let readable = [
        ("claude-api", "/proc/self/exe".as_ref()),
        ("the CLI", &*args.claude_bin),
    ]
    .into_iter()
    .filter(|(_, program)| access(*program, Access::READ_OK).is_ok())
    .map(|(name, program)| {
        Obstacle::new(
            "sandbox-program-readable",
            format!(
                "this user may read the program of {name}, {}, so its memory and environment \
                     are open to tools of the same execution",
                program.display()
            ),
            "let root own the program, with mode 0711, and run the service as another user",
        )
    });
    let dns = dns_is_open(
        &read("/proc/sys/net/ipv4/ip_unprivileged_port_start"),
        &read("/etc/resolv.conf"),
    )
    .then(|| {
        Obstacle::new(
            "sandbox-dns",
            "tools may bind port 53, on which the resolver of this machine listens: one execution \
             can forge the DNS answers of all others",
            "set the sysctl net.ipv4.ip_unprivileged_port_start to 1024, as compose.yaml does",
        )
    });
    let paths = args.sandbox_paths().filter(|path| !path.exists());
    let paths = paths.map(|path| {
        Obstacle::new(
            "sandbox-path-missing",
            format!(
                "CLAUDE_API_SANDBOX_PATHS names {}, which does not exist",
                path.display()
            ),
            "mount it, correct the name or remove it from the list",
        )
    });
    let all = missing.chain(login).chain(not_first).chain(readable);
    all.chain(dns).chain(paths).collect()
}

/// Returns the rules for the token file: whether executions of several principals may run here.
/// They may if the sandbox keeps them apart, or if the operator says so.
pub(crate) fn token_rules(args: &ServeArgs, environment: &Environment) -> Rules {
    let apart =
        args.sandbox && runner::missing_protections().is_empty() && !environment.uses_login();
    Rules {
        is_boxed: args.network.boxed,
        allows_several_principals: apart || args.network.principals_share_a_box,
    }
}

/// Returns the content of a file; an empty text if it cannot be read.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Returns whether any user may bind port 53 on a machine with a local DNS resolver. A command of
/// the model could then forge DNS answers, including the answers of Docker's resolver (127.0.0.11).
/// It sends one packet to each port from which a query may be sent. The kernel then delivers the
/// query to it as an answer to that packet (measured). The parameters are the contents of
/// `ip_unprivileged_port_start` and `resolv.conf`.
fn dns_is_open(first_unprivileged_port: &str, resolv_conf: &str) -> bool {
    let first = first_unprivileged_port.trim().parse();
    let local = |line: &str| {
        let mut words = line.split_whitespace();
        let address = (words.next() == Some("nameserver")).then(|| words.next());
        let address = address.flatten().and_then(|text| text.parse().ok());
        address.is_some_and(|address: std::net::IpAddr| address.is_loopback())
    };
    first.is_ok_and(|first: u32| first <= DNS_PORT) && resolv_conf.lines().any(local)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_of_a_local_resolver_must_be_privileged() {
        let docker = "search lan\nnameserver 127.0.0.11\noptions ndots:0\n";
        assert!(dns_is_open("0\n", docker));
        assert!(dns_is_open("53\n", docker));
        assert!(!dns_is_open("54\n", docker));
        assert!(!dns_is_open("1024\n", docker));
        assert!(dns_is_open("0\n", "nameserver ::1\n"));
        assert!(!dns_is_open(
            "0\n",
            "nameserver 10.0.0.1\n# nameserver 127.0.0.11\n"
        ));
        assert!(!dns_is_open("", docker));
    }
}
