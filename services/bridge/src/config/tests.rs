use super::*;

fn parse(args: &[&str]) -> Config {
    let all = std::iter::once("bridge").chain(args.iter().copied());
    Cli::try_parse_from(all).unwrap().serve
}

#[test]
fn defaults_are_those_of_the_protocol_page() {
    let settings = parse(&[]).check().unwrap();
    let limits = Limits::default();
    assert_eq!(settings.limits, limits);
    assert_eq!(settings.port, 8003);
    assert_eq!(settings.disconnect_grace, Duration::from_secs(10));
    assert_eq!(settings.times.accept, Duration::from_secs(60));
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mistakes = parse(&[
        "--port",
        "70000",
        "--host",
        "nowhere",
        "--claude-api-url",
        "https://x/y",
        "--ping-ms",
        "soon",
        "--sessions",
        "0",
        "--allowed-origins",
        "app.example",
        "--allowed-hosts",
        "http://x",
        "--log-level",
        "a=b=c",
        "--log-format",
        "xml",
        "--views",
        "0",
    ])
    .check()
    .unwrap_err();
    assert_eq!(mistakes.len(), 10, "{mistakes:#?}");
}

#[test]
fn a_url_with_a_password_is_refused_and_not_quoted() {
    for url in [
        "http://me:secret@claude-api:8002",
        "http://secret@claude-api",
        "https://me:secret@",
    ] {
        let mistakes = parse(&["--claude-api-url", url]).check().unwrap_err();
        assert_eq!(mistakes.len(), 1);
        assert!(!mistakes[0].contains("secret"), "{mistakes:?}");
    }
}
