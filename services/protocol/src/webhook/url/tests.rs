use super::*;

fn parse(text: &str) -> Result<WebhookUrl, BadUrl> {
    text.parse()
}

#[test]
fn a_url_is_split_into_the_parts_of_the_request() {
    for (text, authority, port, target) in [
        ("https://hooks.example", "hooks.example", 443, "/"),
        ("HTTPS://Hooks.Example/a", "hooks.example", 443, "/a"),
        ("https://hooks.example:443/a", "hooks.example", 443, "/a"),
        (
            "https://hooks.example:8443/",
            "hooks.example:8443",
            8443,
            "/",
        ),
        ("https://hooks.example?a=b", "hooks.example", 443, "/?a=b"),
        ("https://a/b/?c=/d?e", "a", 443, "/b/?c=/d?e"),
        ("https://a/@b:c", "a", 443, "/@b:c"),
        ("https://192.0.2.7:1/x", "192.0.2.7:1", 1, "/x"),
        ("https://[2001:DB8::1]/", "[2001:db8::1]", 443, "/"),
        ("https://[::ffff:192.0.2.7]:99/", "192.0.2.7:99", 99, "/"),
        (
            "https://xn--bcher-kva.example/%C3%BC",
            "xn--bcher-kva.example",
            443,
            "/%C3%BC",
        ),
    ] {
        let url = parse(text).unwrap();
        assert_eq!(
            (url.authority().as_str(), url.port(), url.target()),
            (authority, port, target),
            "{text}"
        );
    }
}

#[test]
fn a_url_that_parsers_may_read_differently_is_refused() {
    let long = format!("https://a/{}", "x".repeat(URL_BYTES));
    let long_label = format!("https://{}/", "x".repeat(64));
    let long_name = format!("https://{}a/", "a.".repeat(127));
    for (text, error) in [
        ("", BadUrl::NotHttps),
        ("http://a/", BadUrl::NotHttps),
        ("//a/", BadUrl::NotHttps),
        ("https:/a/", BadUrl::NotHttps),
        (" https://a/", BadUrl::NotHttps),
        (long.as_str(), BadUrl::TooLong),
        ("https://a/ b", BadUrl::Character),
        ("https://a\\@b/", BadUrl::Character),
        ("https://a/\n", BadUrl::Character),
        ("https://b\u{fc}cher.example/", BadUrl::Character),
        ("https://\u{ff41}/", BadUrl::Character),
        ("https://a/#b", BadUrl::Fragment),
        ("https://a#@b/", BadUrl::Fragment),
        ("https://user@a/", BadUrl::UserInfo),
        ("https://a:b@127.0.0.1/", BadUrl::UserInfo),
        ("https://", BadUrl::Host),
        ("https:///a", BadUrl::Host),
        ("https://:443/", BadUrl::Host),
        ("https://.a/", BadUrl::Host),
        ("https://a./", BadUrl::Host),
        ("https://a..b/", BadUrl::Host),
        ("https://a%2eb/", BadUrl::Host),
        ("https://a,b/", BadUrl::Host),
        (long_label.as_str(), BadUrl::Host),
        (long_name.as_str(), BadUrl::Host),
        ("https://127.1/", BadUrl::Host),
        ("https://2130706433/", BadUrl::Host),
        ("https://0177.0.0.1/", BadUrl::Host),
        ("https://0x7f.0.0.1/", BadUrl::Host),
        ("https://a.0x7f/", BadUrl::Host),
        ("https://a.1/", BadUrl::Host),
        ("https://1.2.3.4.5/", BadUrl::Host),
        ("https://256.1.1.1/", BadUrl::Host),
        ("https://[::1/", BadUrl::Host),
        ("https://[::1]x/", BadUrl::Host),
        ("https://[fe80::1%25eth0]/", BadUrl::Host),
        ("https://[127.0.0.1]/", BadUrl::Host),
        ("https://::1/", BadUrl::Port),
        ("https://a:/", BadUrl::Port),
        ("https://a:0/", BadUrl::Port),
        ("https://a:+1/", BadUrl::Port),
        ("https://a:65536/", BadUrl::Port),
        ("https://a:443:443/", BadUrl::Port),
    ] {
        assert_eq!(parse(text), Err(error), "{text}");
    }
}
