use std::os::unix::fs::PermissionsExt;

use super::*;

const TOKEN: &str = "ccb_0123456789-_abcdef";

/// Writes a file of this mode in a folder of its own.
fn file(text: &[u8], mode: u32) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    (folder, path)
}

/// Returns the token that is found with this file and this environment.
fn found(path: Option<&Path>, environment: &Environment) -> Result<Option<String>, String> {
    let token = token(path, environment)?;
    Ok(token.map(|token| token.expose().to_owned()))
}

#[test]
fn a_token_file_may_end_with_a_newline() {
    for text in [
        TOKEN.to_owned(),
        format!("{TOKEN}\n"),
        format!(" {TOKEN}\r\n\n"),
    ] {
        for mode in [0o600, 0o400] {
            let (_folder, path) = file(text.as_bytes(), mode);
            let token = found(Some(&path), &Environment::default());
            assert_eq!(token, Ok(Some(TOKEN.to_owned())));
        }
    }
}

#[test]
fn each_mistake_of_a_token_file_is_named_without_the_token() {
    let open = format!("{TOKEN}\n");
    for (text, mode, word) in [
        (open.as_bytes(), 0o640, "chmod 600"),
        (open.as_bytes(), 0o604, "mode 604"),
        (open.as_bytes(), 0o660, "chmod 600"),
        (b"", 0o600, "is empty"),
        (b" \n", 0o600, "is empty"),
        (b"ccb_0123 other", 0o600, "is wrong"),
        (b"ccb_0123\nccb_0123", 0o600, "is wrong"),
        (b"ccb_0123\xff", 0o600, "is wrong"),
        (&[b'0'; 5000], 0o600, "is wrong"),
    ] {
        let (_folder, path) = file(text, mode);
        let mistake = found(Some(&path), &Environment::default()).unwrap_err();
        assert!(mistake.contains(word), "{mistake}");
        assert!(mistake.contains(path.to_str().unwrap()), "{mistake}");
        assert!(!mistake.contains("0123"), "{mistake}");
    }
    let (folder, path) = file(b"", 0o600);
    let mistake = found(Some(folder.path()), &Environment::default()).unwrap_err();
    assert!(mistake.contains("could not read"), "{mistake}");
    let missing = path.with_file_name("missing");
    let mistake = found(Some(&missing), &Environment::default()).unwrap_err();
    assert!(mistake.contains("does not exist"), "{mistake}");
}

#[test]
fn the_first_place_with_a_token_wins() {
    let (_folder, named) = file(b"named", 0o600);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join(".config");
    let write = |config: &Path, text: &str| {
        let path = config.join("cc-bridge/token");
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    };
    let mut environment = Environment {
        home: Some(home.path().into()),
        ..Environment::default()
    };
    assert_eq!(found(None, &environment), Ok(None));
    write(&config, "of_home");
    assert_eq!(found(None, &environment), Ok(Some("of_home".into())));
    environment.config_home = Some("relative".into());
    assert_eq!(found(None, &environment), Ok(Some("of_home".into())));
    let other = home.path().join("other");
    environment.config_home = Some(other.clone().into());
    assert_eq!(found(None, &environment), Ok(None));
    write(&other, "of_xdg");
    assert_eq!(found(None, &environment), Ok(Some("of_xdg".into())));
    environment.token = Some("of_variable".into());
    assert_eq!(found(None, &environment), Ok(Some("of_variable".into())));
    assert_eq!(found(Some(&named), &environment), Ok(Some("named".into())));
}

#[test]
fn a_wrong_token_of_a_later_place_is_an_error() {
    let environment = |text: &str| Environment {
        token: Some(text.into()),
        ..Environment::default()
    };
    for text in ["", "a b", "secret\n"] {
        let mistake = found(None, &environment(text)).unwrap_err();
        assert!(mistake.contains("CCB_TOKEN"), "{mistake}");
        assert!(!mistake.contains("secret"), "{mistake}");
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join(".config/cc-bridge/token");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(&path, TOKEN).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    let environment = Environment {
        home: Some(home.path().into()),
        ..Environment::default()
    };
    assert!(found(None, &environment).unwrap_err().contains("chmod 600"));
}

#[test]
fn a_process_that_has_read_a_token_is_not_dumpable() {
    let (_folder, path) = file(TOKEN.as_bytes(), 0o600);
    found(Some(&path), &Environment::default()).unwrap();
    let behavior = rustix::process::dumpable_behavior().unwrap();
    assert_eq!(behavior, DumpableBehavior::NotDumpable);
}

#[test]
fn a_token_that_the_network_can_read_is_a_warning() {
    let access = |token: Option<&str>| Access {
        token: token.map(|text| text.parse().unwrap()),
        ..Access::default()
    };
    for (token, url, expected) in [
        (Some(TOKEN), "ws://bridge.example:8003/ws", true),
        (Some(TOKEN), "wss://bridge.example/ws", false),
        (Some(TOKEN), "ws://127.0.0.1:8003/ws", false),
        (None, "ws://bridge.example:8003/ws", false),
    ] {
        let warning = access(token).warning(&url.parse().unwrap());
        assert_eq!(warning.is_some(), expected, "{url}");
        assert!(!warning.unwrap_or_default().contains("0123"));
    }
}
