//! What the CLI takes from the configuration of a repository: `CLAUDE.md` and `.claude/` in the
//! workspace.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{Environment, Granted};
use crate::config::RepositorySettings;

/// The settings of the CLI that name a program which gives credentials or headers. An empty value
/// runs none; a null would make the CLI ignore all settings of the same file or argument.
/// `disableAllHooks` does not include them.
const HELPERS: [&str; 6] = [
    API_KEY_HELPER,
    "awsAuthRefresh",
    "awsCredentialExport",
    "gcpAuthRefresh",
    "otelHeadersHelper",
    "proxyAuthHelper",
];
/// The helper whose output replaces the API key, even if one is set.
const API_KEY_HELPER: &str = "apiKeyHelper";

/// The variable with which the CLI ignores all variables in settings that select another provider
/// of the model, its address or a proxy, such as `CLAUDE_CODE_USE_BEDROCK`. They count only in the
/// CLI's own environment.
const MANAGED_PROVIDER: &str = "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST";
/// The variable with which the CLI reads `CLAUDE.md` in the folders given with `--add-dir`.
const CLAUDE_MD: &str = "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD";

/// Returns the arguments that decide how much of the repository's own configuration the CLI reads.
#[must_use]
pub fn repository_arguments(setting: RepositorySettings, workspace: &Path) -> Vec<String> {
    match setting {
        RepositorySettings::None => vec!["--setting-sources=user".to_owned()],
        RepositorySettings::Instructions => vec![
            "--setting-sources=user".to_owned(),
            format!("--add-dir={}", workspace.display()),
        ],
        RepositorySettings::Full => vec!["--setting-sources=user,project".to_owned()],
    }
}

/// Returns the settings for the CLI that protect the credential from the repository's and the
/// user's own settings. `None` if none are needed.
///
/// With `full`, the CLI reads the repository's settings, whose `env` overrides the CLI's own
/// environment. A hostile repository could so redirect the credential to its own server, or run a
/// program. Therefore the endpoint and proxy variables are repeated in these settings, which
/// override the repository, and hooks and helpers are turned off.
///
/// The user's own settings are always read, and may have an `env` too. With `granted`, the URL of
/// `credentials` is therefore repeated with every setting, and no helper replaces the grant. The
/// settings never contain the grant.
#[must_use]
pub fn repository_settings(
    setting: RepositorySettings,
    environment: &Environment,
    granted: Option<&Granted<'_>>,
) -> Option<Map<String, Value>> {
    let settings = match (setting, granted) {
        (RepositorySettings::Full, _) => {
            let env = environment.endpoints(granted);
            let mut settings = json!({ "disableAllHooks": true, "env": env });
            turn_off(&mut settings, &HELPERS);
            settings
        }
        (_, Some(granted)) => {
            let mut settings = json!({ "env": environment.pinned_endpoints(granted) });
            turn_off(&mut settings, &[API_KEY_HELPER]);
            settings
        }
        (_, None) => return None,
    };
    settings.as_object().cloned()
}

/// Turns helpers off in `settings`, a JSON object.
fn turn_off(settings: &mut Value, helpers: &[&str]) {
    for helper in helpers {
        settings[*helper] = Value::from("");
    }
}

/// Returns the environment variables, as names and values, that belong to
/// [`repository_arguments`] and [`repository_settings`].
pub fn repository_variables(
    setting: RepositorySettings,
    is_granted: bool,
) -> impl Iterator<Item = (String, String)> {
    let reads_instructions = setting == RepositorySettings::Instructions;
    let keeps_provider = is_granted || setting == RepositorySettings::Full;
    let variables = [
        (CLAUDE_MD, reads_instructions),
        (MANAGED_PROVIDER, keeps_provider),
    ];
    let set = variables.into_iter().filter(|(_, is_set)| *is_set);
    set.map(|(name, _)| (name.to_owned(), "1".to_owned()))
}
