//! What a project of its own is made of.

/// How [`super::Project::up`] starts.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    pub(super) overlays: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) nothing: bool,
}

impl Plan {
    /// Adds a compose file with this text; later ones win.
    #[must_use]
    pub fn overlay(mut self, yaml: impl Into<String>) -> Self {
        self.overlays.push(yaml.into());
        self
    }

    /// Sets a variable in the shell that Compose sees. Those that the compose files name reach the containers.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// The credential of claude-api and the keys that the model accepts, in place of the demo's. A credential of
    /// `None` is a variable that is not set.
    #[must_use]
    pub fn credential(self, key: Option<&str>, accepted: &str) -> Self {
        let key = key.map_or(String::new(), |key| format!("=\"{key}\""));
        // A list entry without a value takes the shell's variable, which is not set: so it is not there at all.
        self.overlay(format!(
            "services:\n  claude-api:\n    environment:\n      - ANTHROPIC_API_KEY{}\n      - ANTHROPIC_AUTH_TOKEN\n      \
             - CLAUDE_CODE_OAUTH_TOKEN\n  scripted-model:\n    environment:\n      - SCRIPTED_MODEL_ACCEPT_KEY={accepted}\n",
            key.replace('"', "")
        ))
    }

    /// Only prepares: no container is started.
    #[must_use]
    pub fn not_started(mut self) -> Self {
        self.nothing = true;
        self
    }
}
