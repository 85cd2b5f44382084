//! Warnings about missing protections, for the log at the start and for `warnings` of
//! `/health/ready`.

use rustix::fs::{Access, access};

use crate::cli::Environment;
use crate::config::ServeArgs;
use crate::readiness::Obstacle;

/// Lists the protections that are missing. Reads files.
pub(crate) fn warnings(args: &ServeArgs, environment: &Environment) -> Vec<Obstacle> {
    if !args.sandbox {
        return vec![Obstacle::new(
            "sandbox-off",
            "executions run unsandboxed: tools can use every file and signal every process of this \
             service's user",
            "run claude-api in its image, or set CLAUDE_API_SANDBOX=true",
        )];
    }
    let gaps = runner::gaps().into_iter().map(|gap| {
        Obstacle::new(
            "sandbox-incomplete",
            gap.text(),
            "run a kernel of Linux 6.12 or later with Landlock, or trust every prompt",
        )
    });
    let login = environment.logs_in().then(|| {
        Obstacle::new(
            "sandbox-login",
            "the CLI's own login is used, which the CLI has to renew: tools can read and change the \
             whole home of this service, with the CLI's configuration and every transcript",
            "use CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) or ANTHROPIC_API_KEY",
        )
    });
    let first = std::process::id() == 1;
    let not_first = (!first).then(|| {
        Obstacle::new(
            "sandbox-not-pid-1",
            "claude-api is not PID 1 of a container, which the kernel keeps from being killed by what \
             runs in it: only Landlock does",
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
    gaps.chain(login).chain(not_first).chain(readable).collect()
}
