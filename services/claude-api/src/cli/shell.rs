//! What the CLI would run in a shell without asking for a permission.

use serde_json::{Map, Value, json};

use crate::config::{Permissions, RepositorySettings};

/// Returns the settings for the CLI that turn off what runs in a shell without a permission. `None`
/// if the execution may run every command without being asked.
///
/// `/security-review` of the CLI (2.1.329) runs `git` before the model gets its prompt. The CLI
/// grants itself the permission for that, and `git` runs programs that the workspace's
/// `.git/config` names. `/commit` and `/commit-push-pr` would, too, but are not available in the
/// default configuration, and a person may have commands of these names.
///
/// With [`RepositorySettings::Full`] these are also the lines in commands and skills that the CLI
/// runs itself (`` !`command` ``). The CLI has no setting for those of the repository alone, so the
/// user's own are not run either.
#[must_use]
pub fn shell_settings(
    permissions: &Permissions,
    repository: RepositorySettings,
) -> Option<Map<String, Value>> {
    if permissions.allow_every_command() {
        return None;
    }
    let off = json!({"security-review": "off"});
    let mut settings = Map::from_iter([("skillOverrides".to_owned(), off)]);
    if repository == RepositorySettings::Full {
        settings.insert("disableSkillShellExecution".to_owned(), json!(true));
    }
    Some(settings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AnswerCeiling;

    #[test]
    fn commands_run_in_a_shell_only_where_every_command_is_allowed() {
        let answered = |tool: &str, client_answers: bool| Permissions {
            answers: Some(AnswerCeiling {
                tools: vec![tool.to_owned()],
                client_answers,
                ..AnswerCeiling::default()
            }),
            ..Permissions::default()
        };
        let allowed = |tool: &str| Permissions {
            allowed: vec![tool.to_owned()],
            ..Permissions::default()
        };
        let bypass = Permissions {
            mode: "bypassPermissions".to_owned(),
            ..Permissions::default()
        };
        let planning = |permissions| Permissions {
            mode: "plan".to_owned(),
            ..permissions
        };
        for (permissions, is_off) in [
            (Permissions::default(), true),
            (allowed("Bash(git status)"), true),
            (allowed("Bash"), false),
            (bypass, false),
            (answered("Bash(git status)", true), true),
            (answered("Bash", true), false),
            (answered("*", true), false),
            (planning(answered("*", true)), true),
            (planning(allowed("Bash")), true),
            // A person expects to be asked.
            (answered("*", false), true),
        ] {
            let settings = shell_settings(&permissions, RepositorySettings::None);
            assert_eq!(settings.is_some(), is_off, "{permissions:?}");
        }
    }

    #[test]
    fn lines_of_a_repository_do_not_run() {
        let settings = |repository| shell_settings(&Permissions::default(), repository).unwrap();
        let full = settings(RepositorySettings::Full);
        assert_eq!(full["disableSkillShellExecution"], true);
        assert_eq!(full["skillOverrides"]["security-review"], "off");
        let instructions = settings(RepositorySettings::Instructions);
        assert!(!instructions.contains_key("disableSkillShellExecution"));
    }
}
