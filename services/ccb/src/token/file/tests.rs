use super::*;

fn entry(name: &str, token: &[u8]) -> Entry {
    Entry::example(name, token)
}

fn with_principal(name: &str, principal: &str) -> Entry {
    Entry {
        principal: Some(principal.to_owned()),
        ..entry(name, name.as_bytes())
    }
}

fn check(entries: Vec<Entry>) -> Result<(), String> {
    TokenFile { token: entries }.check()
}

#[test]
fn a_block_has_the_format_of_the_token_file() {
    let entry = Entry {
        principal: Some("team-a".to_owned()),
        workspaces: Some(vec!["shop".to_owned(), "docs-*".to_owned()]),
        max_budget_usd: Some(5.0),
        budget_usd_per_day: Some(50.0),
        running: Some(4),
        expires: Some("2027-01-31".parse().unwrap()),
        ..entry("ci", b"x")
    };
    let expected = format!(
        "[[token]]\nname = \"ci\"\nsha256 = \"{}\"\nrole = \"control\"\n\
         principal = \"team-a\"\nworkspaces = [\"shop\", \"docs-*\"]\nmaxBudgetUsd = 5.0\n\
         budgetUsdPerDay = 50.0\nrunning = 4\nexpires = 2027-01-31\n",
        SecretHash::of(b"x")
    );
    assert_eq!(block(&entry), Ok(expected));
}

#[test]
fn the_example_of_the_documentation_is_accepted() {
    let hash = SecretHash::of(b"x");
    let text = format!(
        r#"
[[token]]
name = "ci"                      # unique
sha256 = "{hash}"
role = "control"
principal = "team-a"
workspaces = ["shop", "docs-*"]
maxBudgetUsd = 5
budgetUsdPerDay = 50.0
running = 4
expires = 2027-01-31
"#
    );
    assert_eq!(TokenFile::parse(&text).unwrap().token.len(), 1);
    assert_eq!(TokenFile::parse("").unwrap().token.len(), 0);
}

#[test]
fn a_broken_file_is_an_error_without_its_text() {
    let hash = SecretHash::of(b"x");
    for text in [
        "[[token]]\nname = \"ci\"\nsha256 = ccb_secret\n",
        "ccb_secret",
        "[[token]]\nccb_secret = 1\n",
        &format!("[[token]]\nname = \"ci\"\nsha256 = \"{hash}\"\nrole = \"ccb_secret\"\n"),
        "[[token]]\nname = \"ci\"\nsha256 = \"ccb_secret\"\nrole = \"view\"\n",
    ] {
        let mistake = TokenFile::parse(text).unwrap_err();
        assert!(!mistake.contains("secret"), "{mistake}");
        assert!(
            mistake.contains("line") || mistake.contains("\"ci\""),
            "{mistake}"
        );
    }
}

#[test]
fn names_and_tokens_are_unique() {
    let one = || entry("ci", b"1");
    assert_eq!(check(vec![one(), entry("ann", b"2")]), Ok(()));
    let same_name = check(vec![one(), entry("ci", b"2")]);
    assert!(same_name.unwrap_err().contains("two tokens have the name"));
    let same_token = check(vec![one(), entry("ann", b"1")]);
    assert!(same_token.unwrap_err().contains("twice"));
    for name in ["", "Ci", "a b", "a_b", &"a".repeat(64)] {
        assert!(check(vec![entry(name, b"1")]).is_err(), "{name}");
        assert!(check(vec![with_principal("ci", name)]).is_err(), "{name}");
    }
}

#[test]
fn a_name_that_is_another_ones_principal_needs_a_stated_principal() {
    let mistake = check(vec![with_principal("ci-2", "ci"), entry("ci", b"1")]).unwrap_err();
    assert!(mistake.contains("--principal ci"), "{mistake}");
    for entries in [
        vec![with_principal("ci-2", "ci"), with_principal("ci", "ci")],
        vec![with_principal("ci-2", "team"), with_principal("ci", "team")],
        vec![with_principal("ci", "ci")],
    ] {
        assert_eq!(check(entries), Ok(()));
    }
}
