//! What is open where walls could stand: told in the log at the start, and as `warnings` of
//! `/health/ready`.

use rustix::fs::{Access, access};

use crate::cli::Environment;
use crate::config::ServeArgs;
use crate::readiness::Obstacle;

/// Lists what is open. Reads files.
pub(crate) fn open(args: &ServeArgs, environment: &Environment) -> Vec<Obstacle> {
    if !args.walls {
        return vec![Obstacle::new(
            "walls-off",
            "there are no walls: what the model runs can read and change whatever this service can",
            "run claude-api in its image, or set CLAUDE_API_WALLS=true",
        )];
    }
    let gaps = runner::gaps().into_iter().map(|gap| {
        Obstacle::new(
            "walls-open",
            gap.text(),
            "run a kernel of Linux 6.12 or later with Landlock, or trust every prompt",
        )
    });
    let login = environment.logs_in().then(|| {
        Obstacle::new(
            "walls-login",
            "the CLI's own login is used, which the CLI has to renew: tools can change its \
             configuration and read every transcript",
            "use CLAUDE_CODE_OAUTH_TOKEN (from `claude setup-token`) or ANTHROPIC_API_KEY",
        )
    });
    let first = std::process::id() == 1;
    let not_first = (!first).then(|| {
        Obstacle::new(
            "walls-not-first",
            "claude-api is not the first process of a container, which the kernel would keep from \
             signals and traces of what runs in it: only Landlock does",
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
            "walls-readable",
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
