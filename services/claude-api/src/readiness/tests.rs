use super::*;

fn readiness(vars: &[(&str, &str)]) -> Readiness {
    let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
    Readiness::new(Arc::new(Environment::new(vars, &[])), None, false)
}

#[test]
fn a_credential_in_a_box_without_the_service_credentials_is_a_warning() {
    let key = &[("ANTHROPIC_API_KEY", "key")][..];
    for (vars, is_boxed, is_warned) in [(key, true, true), (key, false, false), (&[], true, false)]
    {
        let readiness = Readiness {
            is_boxed,
            ..readiness(vars)
        };
        let warning = readiness.credential_warning();
        assert_eq!(warning.is_some(), is_warned, "{vars:?} {is_boxed}");
        if let Some(Obstacle { message, .. }) = warning {
            assert!(
                message.contains("is not set: ANTHROPIC_API_KEY"),
                "{message}"
            );
        }
    }
}

fn codes(readiness: &Readiness) -> Vec<&'static str> {
    readiness.obstacles().iter().map(|o| o.code).collect()
}

#[test]
fn every_obstacle_has_its_code() {
    let readiness = readiness(&[("CLAUDE_CONFIG_DIR", "/nonexistent")]);
    assert_eq!(codes(&readiness), ["cli-unchecked", "credential-missing"]);
    readiness.set_cli(Ok(()));
    readiness.disk_full();
    readiness.box_reaches_service(false);
    readiness.stop();
    assert_eq!(
        codes(&readiness),
        [
            "credential-missing",
            "no-room",
            "box-reaches-service",
            "stopping"
        ]
    );
    let known = readiness.conditions().obstacles;
    assert_eq!(known, ["no-room", "box-reaches-service", "stopping"]);
    readiness.set_checked(readiness.credential(), &[]);
    assert_eq!(readiness.conditions().obstacles, codes(&readiness));
    assert!(
        readiness.obstacles()[0]
            .remedy
            .contains("ANTHROPIC_API_KEY")
    );
}

#[test]
fn with_tokens_a_reached_service_is_ready_with_a_warning() {
    let readiness = readiness(&[("ANTHROPIC_API_KEY", "key")]);
    readiness.set_cli(Ok(()));
    let warnings = || -> Vec<_> {
        let warnings = readiness.network_warnings().into_iter();
        warnings.map(|warning| warning.code).collect()
    };
    assert_eq!(warnings(), [""; 0]);
    readiness.box_reaches_service(true);
    assert!(readiness.clients_share_the_box() && !readiness.clients_share_the_box());
    assert_eq!(codes(&readiness), [""; 0]);
    assert_eq!(warnings(), ["box-reaches-service", "clients-share-the-box"]);
    readiness.set_tokens_mistake(Some("a mistake".to_owned()));
    let open = Obstacle::new("sandbox-off", "executions run unsandboxed", "sandbox them");
    readiness.set_checked(readiness.credential(), &[open]);
    let expected = [
        "tokens-file-invalid",
        "box-reaches-service",
        "clients-share-the-box",
        "sandbox-off",
    ];
    assert_eq!(readiness.conditions().warnings, expected);
}

#[test]
fn a_refused_credential_is_forgotten_after_a_success_or_a_change() {
    let dir = tempfile::tempdir().unwrap();
    let login = dir.path().join(".credentials.json");
    std::fs::write(&login, r#"{"a":1}"#).unwrap();
    let readiness = readiness(&[("CLAUDE_CONFIG_DIR", dir.path().to_str().unwrap())]);
    readiness.set_cli(Ok(()));
    assert_eq!(codes(&readiness), [""; 0]);
    readiness.credential_refused(Some(readiness.credential()));
    assert_eq!(codes(&readiness), ["credential-refused"]);
    readiness.credential_worked();
    assert_eq!(codes(&readiness), [""; 0]);
    readiness.credential_refused(Some(readiness.credential()));
    std::fs::write(&login, r#"{"a":12}"#).unwrap();
    assert_eq!(codes(&readiness), [""; 0]);
}
