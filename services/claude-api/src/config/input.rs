//! Settings for the input of running executions: the control requests that clients may send to a
//! CLI, and the first wait before a continuation after a usage limit.

use clap::Args;

/// The name of a control request of the CLI, such as `interrupt`. Clients may send those that the
/// operator allows, on the stdin of a running CLI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRequest(String);

impl ControlRequest {
    /// Parses the name of a control request: 1 to 64 lower-case ASCII letters and underscores.
    ///
    /// # Errors
    /// The text is empty, too long or has other characters; the error shows a valid example.
    pub fn parse(text: &str) -> Result<Self, String> {
        let good = |b: u8| b.is_ascii_lowercase() || b == b'_';
        if !text.is_empty() && text.len() <= 64 && text.bytes().all(good) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!(
                "{text:?} is no control request; write its subtype, like interrupt"
            ))
        }
    }

    /// Creates the control request of this name, which is one of the CLI's own.
    pub(crate) fn named(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// Returns the name, as in the member `subtype` of the CLI's JSON message.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The flags for input and continuations.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Input and continuation")]
pub struct InputArgs {
    /// Control requests that clients may send to the CLI of an execution with `"input": "stream"`,
    /// separated by commas (default: interrupt, end_session; with `"permissionPrompts": "client"`
    /// also those of the Agent SDK). Without "client", some, like set_permission_mode, bypass the
    /// other settings
    #[arg(long, env = "CLAUDE_API_ALLOWED_CONTROL_REQUESTS")]
    pub allowed_control_requests: Option<String>,
    /// First wait after a usage limit with `"onUsageLimit": "wait"` and no known time of reset, ms;
    /// then 2, 4 and 12 times as long
    #[arg(
        long,
        env = "CLAUDE_API_USAGE_LIMIT_WAIT_MS",
        default_value_t = 300_000,
        value_parser = clap::value_parser!(u64).range(1..=86_400_000)
    )]
    pub usage_limit_wait_ms: u64,
}

impl InputArgs {
    /// Parses the list of allowed control requests, separated by commas; empty names are skipped.
    /// `None` if there is no list. Returns one text for each malformed name if there is any.
    pub(super) fn check(&self) -> Result<Option<Vec<ControlRequest>>, Vec<String>> {
        let Some(list) = &self.allowed_control_requests else {
            return Ok(None);
        };
        let names = list.split(',').map(str::trim);
        let mut mistakes = Vec::new();
        let mut allowed = Vec::new();
        for name in names.filter(|name| !name.is_empty()) {
            match ControlRequest::parse(name) {
                Ok(control) => allowed.push(control),
                Err(error) => mistakes.push(format!("--allowed-control-requests: {error}")),
            }
        }
        if mistakes.is_empty() {
            Ok(Some(allowed))
        } else {
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Result<usize, Vec<String>> {
        let args = InputArgs {
            allowed_control_requests: Some(text.to_owned()),
            usage_limit_wait_ms: 1,
        };
        args.check().map(|allowed| allowed.unwrap().len())
    }

    #[derive(clap::Parser)]
    struct Cli {
        #[command(flatten)]
        input: InputArgs,
    }

    #[test]
    fn by_default_there_is_no_list_and_the_wait_is_5_minutes() {
        let input = <Cli as clap::Parser>::parse_from(["claude-api"]).input;
        // 5 minutes; the later waits are 10, 20 and 60 minutes.
        assert_eq!(input.usage_limit_wait_ms, 5 * 60 * 1000);
        assert_eq!(input.check(), Ok(None));
    }

    #[test]
    fn control_requests_are_split_at_commas_and_each_wrong_one_is_reported() {
        assert_eq!(check("interrupt, end_session"), Ok(2));
        assert_eq!(check(""), Ok(0));
        assert_eq!(check("Interrupt,a b,stop_task").unwrap_err().len(), 2);
    }
}
