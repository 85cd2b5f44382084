//! The environment of `ccb-claude`: variables of the process and its working directory.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use client::Address;
use client::address::DEFAULT_URL;
use protocol::TraceContext;
use protocol::body::SDK_ENV_NAMES;
use protocol::trace_context::{TRACEPARENT_VARIABLE, TRACESTATE_VARIABLE};

use super::workspaces::WorkspaceMap;

/// The default time limit for the start of an execution, in seconds. The Agent SDKs wait 60 s for
/// the answer to `initialize` and then report only a timeout. So this program must report the
/// reason earlier.
const START_SECONDS: f64 = 50.0;

/// The settings of `ccb-claude` that are not arguments, because the program that starts it chooses
/// the arguments. Apart from the fields `sdk` and `trace`, nothing of the environment leaves this
/// machine.
#[derive(Debug)]
pub(super) struct Environment {
    /// The address of the bridge (`CCB_URL`).
    pub(super) url: Address,
    /// The file with the token (`CCB_TOKEN_FILE`).
    pub(super) token_file: Option<PathBuf>,
    /// The file with certificates (`CCB_CA`).
    pub(super) ca: Option<PathBuf>,
    /// The mapping of folders to workspaces (`CCB_MAP`).
    pub(super) workspaces: WorkspaceMap,
    /// The working directory, without symbolic links.
    pub(super) folder: PathBuf,
    /// The configuration folder of a CLI on this machine (`CLAUDE_CONFIG_DIR`, or `~/.claude`).
    pub(super) configuration: PathBuf,
    /// Whether the execution continues after this program has ended (`CCB_KEEP=1`).
    pub(super) keeps: bool,
    /// The time limit for the start of the execution (`CCB_START_SECONDS`).
    pub(super) start_limit: Duration,
    /// The variables of the Agent SDK, by name.
    pub(super) sdk: BTreeMap<String, String>,
    /// The trace to which the execution belongs.
    pub(super) trace: Option<TraceContext>,
}

impl Environment {
    /// Reads the variables and the working directory of this process.
    ///
    /// # Errors
    /// A variable has a wrong value, or the working directory does not exist.
    pub(super) fn of_process() -> Result<Self, String> {
        let folder = std::env::current_dir()
            .map_err(|e| format!("the working directory cannot be used: {e}; use another"))?;
        Self::read(|name| std::env::var_os(name), folder)
    }

    /// Reads the settings from these variables. An empty variable counts as absent.
    ///
    /// # Errors
    /// As [`Environment::of_process`].
    pub(super) fn read(
        variable: impl Fn(&str) -> Option<OsString>,
        folder: PathBuf,
    ) -> Result<Self, String> {
        let path = |name: &str| variable(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let text = |name: &str| match variable(name).map(OsString::into_string) {
            Some(Ok(text)) if !text.is_empty() => Ok(Some(text)),
            Some(Err(_)) => Err(format!(
                "the variable {name} is not UTF-8; correct or unset it"
            )),
            _ => Ok(None),
        };
        let url = text("CCB_URL")?.unwrap_or_else(|| DEFAULT_URL.to_owned());
        let url = url
            .parse()
            .map_err(|e| format!("the variable CCB_URL is wrong: {e}"))?;
        let workspaces = match text("CCB_MAP")? {
            Some(map) => WorkspaceMap::parse(&map, resolve)?,
            None => WorkspaceMap::of_working_directory(&folder),
        };
        let keeps = match text("CCB_KEEP")?.as_deref() {
            None | Some("0") => false,
            Some("1") => true,
            Some(other) => {
                return Err(format!("CCB_KEEP is {other:?}; set it to 1, or unset it"));
            }
        };
        let start_limit = match text("CCB_START_SECONDS")? {
            None => Duration::from_secs_f64(START_SECONDS),
            Some(seconds) => start_limit(&seconds)?,
        };
        let mut sdk = BTreeMap::new();
        for name in SDK_ENV_NAMES {
            // An empty value means something to the CLI, so only an absent one is left out.
            if let Some(value) = variable(name) {
                let value = value.into_string();
                let value = value.map_err(|_| format!("the variable {name} is not UTF-8"))?;
                sdk.insert(name.to_owned(), value);
            }
        }
        let (parent, state) = (text(TRACEPARENT_VARIABLE), text(TRACESTATE_VARIABLE));
        // A malformed trace is ignored, as W3C Trace Context says.
        let (parent, state) = (parent.ok().flatten(), state.ok().flatten());
        Ok(Self {
            url,
            token_file: path("CCB_TOKEN_FILE"),
            ca: path("CCB_CA"),
            workspaces,
            configuration: path("CLAUDE_CONFIG_DIR")
                .unwrap_or_else(|| path("HOME").unwrap_or_default().join(".claude")),
            folder,
            keeps,
            start_limit,
            sdk,
            trace: parent.and_then(|parent| TraceContext::parse(&parent, state.as_deref())),
        })
    }
}

fn start_limit(text: &str) -> Result<Duration, String> {
    let seconds: Option<f64> = text.trim().parse().ok();
    let limit = seconds.filter(|seconds| *seconds > 0.0);
    let limit = limit.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    limit.ok_or_else(|| {
        format!("CCB_START_SECONDS is {text:?}; set it to a number of seconds, or unset it")
    })
}

/// Returns the path without symbolic links, or unchanged if there is no such file.
pub(super) fn resolve(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, String> {
        let variable = |name: &str| {
            let pair = variables.iter().find(|(of, _)| *of == name)?;
            Some(OsString::from(pair.1))
        };
        Environment::read(variable, PathBuf::from("/nonexistent/src"))
    }

    #[test]
    fn an_empty_environment_has_the_defaults() {
        let environment = read(&[("CCB_URL", ""), ("CCB_TOKEN_FILE", ""), ("CCB_KEEP", "")]);
        let environment = environment.unwrap();
        assert_eq!(environment.url.as_str(), DEFAULT_URL);
        assert_eq!(environment.token_file, None);
        assert_eq!(environment.start_limit, Duration::from_secs(50));
        assert!(!environment.keeps && environment.sdk.is_empty() && environment.trace.is_none());
        let folder = &environment.folder;
        assert_eq!(environment.workspaces.workspace_of(folder), Ok("default"));
    }

    #[test]
    fn each_variable_has_its_setting() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let environment = read(&[
            ("CCB_URL", "wss://b.example/ws"),
            ("CCB_TOKEN_FILE", "/t"),
            ("CCB_CA", "/c"),
            ("CCB_MAP", "/nonexistent/src=shop"),
            ("CCB_KEEP", "1"),
            ("CCB_START_SECONDS", "0.5"),
            ("TRACEPARENT", trace),
            ("TRACESTATE", "a=b"),
            ("CLAUDE_CODE_ENTRYPOINT", "sdk-py"),
            ("CLAUDE_AGENT_SDK_VERSION", ""),
            ("ANTHROPIC_API_KEY", "secret"),
            ("CLAUDE_CODE_OAUTH_TOKEN", "secret"),
        ]);
        let environment = environment.unwrap();
        assert_eq!(environment.url.host(), "b.example");
        assert_eq!(environment.token_file, Some("/t".into()));
        assert_eq!(environment.ca, Some("/c".into()));
        assert!(environment.keeps);
        assert_eq!(environment.start_limit, Duration::from_millis(500));
        assert_eq!(environment.trace.unwrap().traceparent(), trace);
        let folder = &environment.folder;
        assert_eq!(environment.workspaces.workspace_of(folder), Ok("shop"));
        let sdk: Vec<_> = environment.sdk.into_iter().collect();
        assert_eq!(
            sdk,
            [
                ("CLAUDE_AGENT_SDK_VERSION".to_owned(), String::new()),
                ("CLAUDE_CODE_ENTRYPOINT".to_owned(), "sdk-py".to_owned()),
            ]
        );
    }

    #[test]
    fn a_wrong_variable_is_named() {
        for (name, value) in [
            ("CCB_URL", "ftp://x"),
            ("CCB_MAP", "src"),
            ("CCB_KEEP", "yes"),
            ("CCB_START_SECONDS", "0"),
            ("CCB_START_SECONDS", "nan"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.contains(name), "{error}");
        }
        assert!(read(&[("TRACEPARENT", "broken")]).unwrap().trace.is_none());
    }
}
