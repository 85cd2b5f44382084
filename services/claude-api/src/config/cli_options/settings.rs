//! Settings that a client hands to the CLI (its option `--settings`).

use protocol::ProblemType;
use serde_json::{Map, Value, json};

use super::refusal::{CliOptionRefusal, texts};

/// The settings that a client may give. Other settings of the CLI run programs (`hooks`,
/// `apiKeyHelper`), redirect its requests (`env`), or permit tools (`permissions.allow`,
/// `defaultMode`).
const ALLOWED: &str = "model, outputStyle, language, permissions.deny, permissions.ask";

/// Checks settings, and returns them with known members only. The CLI ignores all settings if one
/// of them is null, so a null is refused.
///
/// # Errors
/// `setting-not-allowed` for any other setting, and `invalid-body` for one of a wrong type.
pub(super) fn check_settings(
    settings: &Map<String, Value>,
) -> Result<Map<String, Value>, CliOptionRefusal> {
    let mut checked = Map::new();
    for (name, value) in settings {
        let value = match name.as_str() {
            "model" | "outputStyle" | "language" if value.is_string() => value.clone(),
            "model" | "outputStyle" | "language" => return Err(malformed(name, "a text")),
            "permissions" => check_permissions(value)?,
            _ => return Err(not_allowed(name)),
        };
        checked.insert(name.clone(), value);
    }
    Ok(checked)
}

fn check_permissions(permissions: &Value) -> Result<Value, CliOptionRefusal> {
    let Value::Object(lists) = permissions else {
        return Err(malformed("permissions", "an object"));
    };
    let mut checked = Map::new();
    for (name, list) in lists {
        if name != "deny" && name != "ask" {
            return Err(not_allowed(&format!("permissions.{name}")));
        }
        let Some(rules) = texts(list) else {
            return Err(malformed(&format!("permissions.{name}"), "a list of rules"));
        };
        checked.insert(name.clone(), json!(rules));
    }
    Ok(Value::Object(checked))
}

fn not_allowed(name: &str) -> CliOptionRefusal {
    CliOptionRefusal::new(
        ProblemType::SettingNotAllowed,
        format!("settings: {name:?} is not allowed; leave it out (allowed: {ALLOWED})"),
    )
}

fn malformed(name: &str, expected: &str) -> CliOptionRefusal {
    let detail = format!("settings: {name} must be {expected}");
    CliOptionRefusal::new(ProblemType::InvalidBody, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &Value) -> Result<Value, ProblemType> {
        let checked = check_settings(settings.as_object().unwrap());
        checked.map(Value::Object).map_err(|refusal| refusal.kind)
    }

    #[test]
    fn the_allowed_settings_pass() {
        let settings = json!({"model": "m", "outputStyle": "Explanatory", "language": "german",
            "permissions": {"deny": ["Bash"], "ask": ["Bash(ls:*)"]}});
        assert_eq!(check(&settings), Ok(settings.clone()));
        assert_eq!(check(&json!({})), Ok(json!({})));
    }

    #[test]
    fn every_other_setting_is_refused_by_name() {
        for name in [
            "hooks",
            "env",
            "apiKeyHelper",
            "awsAuthRefresh",
            "statusLine",
            "enableAllProjectMcpServers",
            "disableAllHooks",
            "sandbox",
            "includeCoAuthoredBy",
        ] {
            let settings = json!({ name: {} });
            assert_eq!(
                check(&settings),
                Err(ProblemType::SettingNotAllowed),
                "{name}"
            );
        }
        for name in ["allow", "defaultMode", "additionalDirectories"] {
            let settings = json!({"permissions": { name: [] }});
            assert_eq!(
                check(&settings),
                Err(ProblemType::SettingNotAllowed),
                "{name}"
            );
        }
    }

    #[test]
    fn a_null_or_another_wrong_type_is_refused() {
        for settings in [
            json!({"model": null}),
            json!({"language": 7}),
            json!({"permissions": null}),
            json!({"permissions": {"deny": "Bash"}}),
            json!({"permissions": {"ask": [null]}}),
        ] {
            assert_eq!(
                check(&settings),
                Err(ProblemType::InvalidBody),
                "{settings}"
            );
        }
    }
}
