use super::*;

fn find(variables: &[(&str, &str)]) -> Result<Option<Proxy>, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Proxy::find(&variables.iter().map(owned).collect(), "api.example.com")
}

#[test]
fn the_proxy_for_https_is_found_with_its_password() {
    let proxy = find(&[("HTTPS_PROXY", "http://u%40x:p%3A@proxy:3128/")])
        .unwrap()
        .unwrap();
    assert_eq!((proxy.host(), proxy.port()), ("proxy", 3128));
    let expected = format!("Basic {}", BASE64.encode(b"u@x:p:"));
    assert_eq!(proxy.authorization.as_deref(), Some(expected.as_str()));
    assert_eq!(format!("{proxy:?}"), "Proxy(proxy:3128)");
    let both = find(&[("HTTPS_PROXY", "upper:1"), ("https_proxy", "lower:2")]);
    assert_eq!(both.unwrap().unwrap().host(), "lower");
    assert_eq!(find(&[("HTTP_PROXY", "http://plain")]).unwrap(), None);
}

#[test]
fn a_listed_host_has_no_proxy() {
    for (list, excepted) in [
        ("*", true),
        ("api.example.com", true),
        ("other, .example.com", true),
        ("EXAMPLE.com", true),
        ("*.example.com", true),
        ("ample.com", false),
        ("b.api.example.com", false),
        ("", false),
        (",", false),
    ] {
        let found = find(&[("HTTPS_PROXY", "p:1"), ("NO_PROXY", list)]).unwrap();
        assert_eq!(found.is_none(), excepted, "{list}");
    }
}

#[test]
fn a_proxy_of_another_kind_is_a_mistake_that_hides_its_password() {
    for value in [
        "https://u:secret@p",
        "socks5://u:secret@p",
        "http://u:secret%@p",
        "http://",
    ] {
        let mistake = find(&[("ALL_PROXY", value)]).unwrap_err();
        assert!(
            mistake.starts_with("ALL_PROXY: ") && !mistake.contains("secret"),
            "{mistake}"
        );
    }
}

#[tokio::test]
async fn a_tunnel_is_open_after_a_status_of_success() {
    for (answer, expected) in [
        (
            "HTTP/1.1 200 Connection established\r\nA: b\r\n\r\nrest",
            None,
        ),
        ("HTTP/1.0 200 OK\r\n\r\nrest", None),
        (
            "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
            Some("the proxy answered 407"),
        ),
        (
            "SSH-2.0-OpenSSH\r\n\r\n",
            Some("the answer of the proxy is malformed"),
        ),
    ] {
        let proxy = parse("http://u:p@proxy:1").unwrap();
        let (mut near, mut far) = tokio::io::duplex(4096);
        far.write_all(answer.as_bytes()).await.unwrap();
        let result = proxy.open_tunnel(&mut near, "::1", 443).await;
        assert_eq!(
            result.err().map(|error| error.to_string()).as_deref(),
            expected
        );
        drop(near);
        let mut request = String::new();
        far.read_to_string(&mut request).await.unwrap();
        assert_eq!(
            request,
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: [::1]:443\r\n\
             Proxy-Authorization: Basic dTpw\r\n\r\n"
        );
    }
}
