//! The plan of a test's own project.

/// How [`super::Project::up`] starts.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(super) overlays: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) nothing: bool,
}

impl Plan {
    /// Adds a compose file with this text; later files override earlier ones.
    #[must_use]
    pub fn overlay(mut self, yaml: impl Into<String>) -> Self {
        self.overlays.push(yaml.into());
        self
    }

    /// Sets a variable in the shell that Compose sees. Those that the compose files name reach the
    /// containers.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Replaces the demo's credential, and the keys that the model accepts. `None` leaves the
    /// credential's variable unset. With an empty one the CLI of claude-api may use a login of its
    /// own, also with the model. `CCB_CREDENTIAL_IN_BOX` moves the credential as in compose.yaml.
    #[must_use]
    pub fn credential(self, key: Option<&str>, accepted: &str) -> Self {
        let assigned = key.map_or(String::new(), |key| format!("={key}"));
        let in_box = key.unwrap_or_default();
        let own_login = match key {
            Some("") => "\n      - ANTHROPIC_BASE_URL=http://scripted-model:8004",
            _ => "",
        };
        // A list entry without a value takes the shell's variable, which is unset, so the container
        // has no such variable.
        self.overlay(format!(
            "services:\n  credentials:\n    environment:\n      \
             - ANTHROPIC_API_KEY{assigned}\n      \
             - ANTHROPIC_AUTH_TOKEN\n      - CLAUDE_CODE_OAUTH_TOKEN\n  \
             claude-api:\n    environment:\n      \
             - ANTHROPIC_API_KEY=${{CCB_CREDENTIAL_IN_BOX:+{in_box}}}{own_login}\n  \
             scripted-model:\n    environment:\n      \
             - SCRIPTED_MODEL_ACCEPT_KEY={accepted}\n"
        ))
    }

    /// Only prepares: no container is started.
    #[must_use]
    pub fn not_started(mut self) -> Self {
        self.nothing = true;
        self
    }
}
