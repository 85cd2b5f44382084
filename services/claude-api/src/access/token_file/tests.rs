use super::*;

const RULES: Rules = Rules {
    is_boxed: true,
    allows_several_principals: true,
};

fn block(name: &str, more: &str) -> String {
    let hash = SecretHash::of(name.as_bytes());
    format!("[[token]]\nname = {name:?}\nsha256 = \"{hash}\"\n{more}\n")
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text, RULES).unwrap_err()
}

#[test]
fn a_whole_token_is_parsed_and_absent_fields_have_defaults() {
    let text = block(
        "ci",
        "role = \"control\"\nprincipal = \"team-a\"\nworkspaces = [\"shop\", \"docs-*\"]\n\
         maxBudgetUsd = 5.0\nbudgetUsdPerDay = 50\nrunning = 4\nexpires = 2027-01-31",
    ) + &block("me", "role = \"view\"");
    let [ci, me] = parse(&text, RULES).unwrap().try_into().unwrap();
    assert_eq!((ci.principal.as_str(), ci.running), ("team-a", Some(4)));
    assert_eq!(ci.budget_usd_per_day, Some(50.0));
    assert_eq!(ci.expires, Some("2027-01-31T00:00:00Z".parse().unwrap()));
    assert!(ci.allows_workspace("shop") && ci.allows_workspace("docs-x"));
    assert!(!ci.allows_workspace("shop2") && !ci.allows_workspace("default"));
    assert_eq!((me.principal.as_str(), me.role), ("me", Role::View));
    assert!(me.allows_workspace("anything"));
    assert_eq!(parse("", RULES), Ok(Vec::new()));
}

#[test]
fn each_mistake_is_named() {
    let view = |name: &str| block(name, "role = \"view\"");
    let control = |name: &str, more: &str| block(name, &format!("role = \"control\"\n{more}"));
    for (text, word) in [
        ("[[token]".to_owned(), "TOML"),
        ("x = 1".to_owned(), "unknown"),
        ("token = 1".to_owned(), "[[token]]"),
        (block("a", ""), "role"),
        (block("a", "role = \"root\""), "admin"),
        (block("A b", "role = \"view\""), "name"),
        (block(&"a".repeat(64), "role = \"view\""), "63"),
        (block("a", "role = \"view\"\nprincipal = \"B\""), "\"B\""),
        (block("a", "role = \"view\"\nmaxBudget = 1.0"), "maxBudget"),
        (control("a", "maxBudgetUsd = 0.0"), "above 0"),
        (control("a", "budgetUsdPerDay = nan"), "above 0"),
        (control("a", "running = 0"), "running"),
        (control("a", "running = -1"), "token 1"),
        (control("a", "workspaces = []"), "workspaces"),
        (control("a", "expires = 2027-01-31T10:00:00Z"), "date"),
        (control("a", "expires = \"soon\""), "token 1"),
        (view("a") + &view("a"), "two tokens"),
        (
            view("a")
                + &view("b").replace(
                    &SecretHash::of(b"b").to_string(),
                    &SecretHash::of(b"a").to_string(),
                ),
            "another token",
        ),
        (
            view("a") + &block("b", "role = \"view\"\nprincipal = \"a\""),
            "rename",
        ),
        (
            control("a", "principal = \"p\"\nrunning = 1")
                + &control("b", "principal = \"p\"\nrunning = 2"),
            "differs",
        ),
        (
            view("a").replace("sha256 = \"", "sha256 = \"x"),
            "hexadecimal",
        ),
    ] {
        let found = mistakes(&text).join("\n");
        assert!(found.contains(word), "{word}: {found}\n{text}");
        assert!(
            !found.contains(&SecretHash::of(b"a").to_string()),
            "{found}"
        );
    }
}

#[test]
fn a_token_in_a_wrong_field_is_not_repeated() {
    let token = protocol::Token::generate().unwrap();
    let secret = token.secret().expose();
    for text in [
        block(secret, "role = \"view\""),
        block("a", &format!("role = {secret:?}")),
        block("a", &format!("role = \"view\"\n{secret} = 1")),
        format!("{secret} = 1"),
        format!("[[token]]\nname = {secret}"),
    ] {
        let found = mistakes(&text).join("\n");
        assert!(!found.contains(&secret[..12]), "{found}");
    }
    assert_eq!(without_tokens("ccb token new"), "ccb token new");
}

#[test]
fn all_mistakes_are_reported_together() {
    let text = block("a", "role = \"x\"") + &block("b", "role = \"y\"") + "z = 1";
    assert_eq!(
        mistakes(&("z = 1\n".to_owned() + &text.replace("z = 1", ""))).len(),
        3
    );
}

#[test]
fn several_principals_need_a_complete_sandbox_or_the_operators_word() {
    let rules = Rules {
        allows_several_principals: false,
        ..RULES
    };
    let control = |name: &str, principal: &str| {
        block(
            name,
            &format!("role = \"control\"\nprincipal = \"{principal}\""),
        )
    };
    let two = control("a", "p") + &control("b", "q");
    assert!(parse(&two, rules).unwrap_err()[0].contains("--principals-share-a-box"));
    assert!(parse(&two, RULES).is_ok());
    assert!(parse(&(control("a", "p") + &control("b", "p")), rules).is_ok());
    // A reader starts nothing, so it brings no commands of its own into the box.
    let reader = control("a", "p") + &block("b", "role = \"view\"");
    assert!(parse(&reader, rules).is_ok());
}

#[test]
fn a_writable_file_or_folder_is_refused_in_a_box() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens.toml");
    std::fs::write(&path, "").unwrap();
    let boxed = RULES.check_permissions(&path).unwrap_err();
    assert!(boxed.contains("read-only"), "{boxed}");
    let open = Rules {
        is_boxed: false,
        ..RULES
    };
    assert_eq!(open.check_permissions(&path), Ok(()));
}
