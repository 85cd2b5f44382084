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

#[test]
fn mistakes_about_connections_and_proxies_are_reported() {
    for args in [
        &["--connections", "1000"][..],
        &["--connections-per-peer", "0"],
        &["--head-ms", "1"],
        &["--keep-alive-ms", "x"],
        &["--frames-per-second", "0"],
        &["--frames-burst", "0"],
        &["--sessions-per-principal", "0"],
        &["--proxy-port", "8003"],
        &["--proxy-port", "x"],
        &["--trusted-proxies", "10.0.0.1/8"],
        &["--trusted-proxies", "0.0.0.0/0"],
    ] {
        let mistakes = parse(args).check().unwrap_err();
        assert_eq!(mistakes.len(), 1, "{mistakes:?}");
        assert!(mistakes[0].starts_with(args[0]), "{mistakes:?}");
    }
}

#[test]
fn a_principal_has_the_same_part_of_mcp_as_of_sessions() {
    let mcp = |args: &[&str]| {
        let mcp = parse(args).check().unwrap().mcp;
        (mcp.sessions_per_principal, mcp.calls_per_principal)
    };
    assert_eq!(mcp(&[]), (250, 16));
    assert_eq!(mcp(&["--sessions-per-principal", "1000000"]), (1000, 64));
    assert_eq!(mcp(&["--sessions-per-principal", "1"]), (1, 1));
    let connections = |args: &[&str]| parse(args).check().unwrap().connections.connections;
    assert_eq!(connections(&[]), 2048);
    assert_eq!(connections(&["--sessions", "20"]), 1068);
}
