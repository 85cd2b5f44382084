use super::*;

fn check(host: &str, origin: Option<&str>) -> Result<(), Foreign> {
    let guard = Guard::new(
        ["bridge".to_owned(), "My.Example".to_owned()],
        ["https://App.example/".to_owned()],
    );
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.parse().unwrap());
    if let Some(origin) = origin {
        headers.insert(ORIGIN, origin.parse().unwrap());
    }
    guard.check(&Uri::from_static("/"), &headers)
}

#[test]
fn local_and_listed_hosts_are_allowed() {
    for host in [
        "localhost:8003",
        "127.0.0.1:8003",
        "[::1]:8003",
        "[::1]",
        "BRIDGE:8003",
        "bridge",
        "my.example",
    ] {
        assert_eq!(check(host, None), Ok(()), "{host}");
    }
}

#[test]
fn other_hosts_are_refused() {
    for host in [
        "evil.example",
        "localhost.evil.example:8003",
        "127.0.0.1.nip.io",
        "",
        "[::2]:8003",
        "::1",
    ] {
        assert!(matches!(check(host, None), Err(Foreign::Host(_))), "{host}");
    }
    assert!(
        Guard::default()
            .check(&Uri::from_static("/"), &HeaderMap::new())
            .is_err()
    );
}

#[test]
fn only_the_host_and_listed_origins_are_allowed() {
    assert_eq!(
        check("localhost:8003", Some("http://localhost:8003")),
        Ok(())
    );
    assert_eq!(check("localhost:8003", Some("https://app.example")), Ok(()));
    assert_eq!(check("localhost:80", Some("http://localhost")), Ok(()));
    for origin in [
        "null",
        "http://localhost:3000",
        "http://localhost",
        "http://127.0.0.1:8003",
        "https://app.example.evil",
        "",
    ] {
        assert!(
            matches!(
                check("localhost:8003", Some(origin)),
                Err(Foreign::Origin(_))
            ),
            "{origin}"
        );
    }
}

#[test]
fn localhost_is_an_address_to_listen_on() {
    for (text, address) in [
        ("localhost", "127.0.0.1"),
        ("LocalHost", "127.0.0.1"),
        ("0.0.0.0", "0.0.0.0"),
        ("::1", "::1"),
        ("[::1]", "::1"),
    ] {
        assert_eq!(listen_address(text), Ok(address.parse().unwrap()), "{text}");
    }
    assert!(listen_address("example.org").is_err() && listen_address("").is_err());
}

#[test]
fn an_origin_is_a_scheme_and_a_host() {
    for good in ["https://app.example", "http://localhost:3000/", "app://x"] {
        assert!(is_origin(good), "{good}");
    }
    for bad in [
        "*",
        "null",
        "",
        "app.example",
        "https://*.example",
        "https://a/b",
    ] {
        assert!(!is_origin(bad), "{bad}");
    }
}

#[test]
fn a_doubled_host_is_refused() {
    let mut headers = HeaderMap::new();
    headers.append(HOST, "localhost".parse().unwrap());
    headers.append(HOST, "localhost".parse().unwrap());
    assert!(
        Guard::default()
            .check(&Uri::from_static("/"), &headers)
            .is_err()
    );
}
