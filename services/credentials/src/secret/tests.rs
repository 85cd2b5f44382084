use super::*;

fn secrets(variables: &[(&str, &str)]) -> Secrets {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Secrets::new(&variables.iter().map(owned).collect())
}

fn header(variables: &[(&str, &str)]) -> Option<String> {
    let (name, value) = secrets(variables).credential().ok()?.header();
    Some(format!("{name}: {}", value.to_str().unwrap()))
}

#[test]
fn the_first_kind_that_is_set_counts() {
    let all = [
        ("ANTHROPIC_AUTH_TOKEN", "t"),
        ("CLAUDE_CODE_OAUTH_TOKEN", "o"),
        ("ANTHROPIC_API_KEY", "k"),
    ];
    assert_eq!(header(&all).as_deref(), Some("x-api-key: k"));
    assert_eq!(
        header(&all[..2]).as_deref(),
        Some("authorization: Bearer o")
    );
    assert_eq!(
        header(&all[..1]).as_deref(),
        Some("authorization: Bearer t")
    );
    let empty = [("ANTHROPIC_API_KEY", ""), ("ANTHROPIC_AUTH_TOKEN", "t")];
    assert_eq!(header(&empty).as_deref(), Some("authorization: Bearer t"));
    assert_eq!(secrets(&[]).state(), CredentialState::Missing);
}

#[test]
fn a_file_is_read_at_each_use() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let secrets = secrets(&[("ANTHROPIC_API_KEY_FILE", path.to_str().unwrap())]);
    assert!(matches!(
        secrets.state(),
        CredentialState::Unreadable { .. }
    ));
    std::fs::write(&path, "# a comment\n\n  first  \n").unwrap();
    assert_eq!(secrets.credential().unwrap().expose(), "first");
    let before = secrets.state();
    std::fs::write(&path, "\u{feff}second").unwrap();
    assert_eq!(secrets.credential().unwrap().expose(), "second");
    assert_ne!(secrets.state(), before);
    std::fs::write(&path, "# none\n").unwrap();
    assert_eq!(secrets.state(), CredentialState::Missing);
}

#[test]
fn a_file_without_a_credential_is_malformed_and_not_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let secrets = secrets(&[("CLAUDE_CODE_OAUTH_TOKEN_FILE", path.to_str().unwrap())]);
    for content in [
        &b"\xff\xfes\0e\0"[..],
        b"secret \xff",
        b"ANTHROPIC_API_KEY=secret",
        b"export A=secret",
        b"\"secret\"",
        b"secret secret",
        "secret\u{e9}".as_bytes(),
    ] {
        std::fs::write(&path, content).unwrap();
        let CredentialState::Malformed { reason } = secrets.state() else {
            panic!("{content:?}: {:?}", secrets.state());
        };
        assert!(
            reason.starts_with("CLAUDE_CODE_OAUTH_TOKEN_FILE, "),
            "{reason}"
        );
        assert!(!reason.contains("secret"), "{reason}");
    }
}

#[test]
fn a_later_kind_replaces_one_that_is_unusable() {
    let missing = ("ANTHROPIC_API_KEY_FILE", "/does/not/exist");
    let both = [missing, ("ANTHROPIC_AUTH_TOKEN", "t")];
    assert_eq!(header(&both).as_deref(), Some("authorization: Bearer t"));
}

#[test]
fn no_text_form_has_the_secret() {
    let secrets = secrets(&[("ANTHROPIC_AUTH_TOKEN", "a-secret")]);
    let credential = secrets.credential().unwrap();
    let texts = [
        format!("{secrets:?}"),
        format!("{credential:?}"),
        format!("{:?}", credential.state()),
        format!("{:?}", credential.header()),
    ];
    for text in texts {
        assert!(!text.contains("a-secret"), "{text}");
    }
}
