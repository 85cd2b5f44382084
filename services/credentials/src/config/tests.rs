use super::*;

fn check(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Vec<String>> {
    let name = ["credentials"];
    let cli = Cli::try_parse_from(name.iter().chain(arguments)).unwrap();
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    cli.serve.check(&variables.iter().map(owned).collect())
}

/// An API without TLS, which needs no root certificates.
const INNER: (&str, &str) = ("ANTHROPIC_BASE_URL", "http://127.0.0.1:1/base");

#[test]
fn settings_without_a_mistake_are_taken() {
    let settings = check(
        &[
            "--allow-body-fields=container, file_id",
            "--check-ms=0",
            "--port=0",
        ],
        &[INNER, ("ANTHROPIC_API_KEY", "k")],
    )
    .unwrap();
    let fields: Vec<_> = settings.allowed.iter().map(Field::to_string).collect();
    assert_eq!(fields, ["container", "file_id"]);
    assert_eq!((settings.port, settings.check), (0, None));
    assert_eq!(settings.claude_api, "claude-api:8006");
    assert_eq!(settings.timing, Timing::default());
    let origin = settings.access.connector.origin();
    assert_eq!(origin.target("/v1/models"), "/base/v1/models");
    assert!(settings.access.secrets.credential().is_ok());
}

#[test]
fn all_mistakes_are_reported_together() {
    let mistakes = check(
        &[
            "--host=nowhere.example",
            "--port=70000",
            "--claude-api=claude-api",
            "--allow-body-fields=container,files",
            "--prices=/does/not/exist",
            "--check-ms=soon",
            "--shutdown-ms=-1",
            "--log-level=[",
            "--log-format=xml",
        ],
        &[
            ("ANTHROPIC_BASE_URL", "http://u:secret@api.example"),
            ("ANTHROPIC_CUSTOM_HEADERS", "secret"),
        ],
    )
    .unwrap_err();
    for part in [
        "--host",
        "--port",
        "--claude-api",
        "--allow-body-fields",
        "--prices",
        "--check-ms",
        "--shutdown-ms",
        "--log-level",
        "--log-format",
        "ANTHROPIC_BASE_URL",
        "ANTHROPIC_CUSTOM_HEADERS",
    ] {
        let count = mistakes
            .iter()
            .filter(|mistake| mistake.starts_with(part))
            .count();
        assert_eq!(count, 1, "{part}: {mistakes:#?}");
    }
    assert!(
        !mistakes.iter().any(|mistake| mistake.contains("secret")),
        "{mistakes:#?}"
    );
}

#[test]
fn a_public_api_without_tls_is_a_mistake() {
    let mistakes = check(&[], &[("ANTHROPIC_BASE_URL", "http://1.1.1.1")]).unwrap_err();
    assert!(mistakes[0].contains("use https"), "{mistakes:?}");
}
