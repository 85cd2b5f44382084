use super::*;

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
    }
    headers
}

fn sent(own: &[(&str, &str)], custom: &HeaderMap) -> HeaderMap {
    let added = Added {
        host: &HeaderValue::from_static("api.example"),
        credential: (
            HeaderName::from_static("x-api-key"),
            HeaderValue::from_static("the-key"),
        ),
        beta: None,
        custom,
    };
    forwarded(&map(own), added, true)
}

#[test]
fn only_headers_for_the_api_are_forwarded() {
    let own = [
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "a"),
        ("anthropic-beta", "b"),
        ("user-agent", "cli"),
        ("accept", "application/json"),
        ("x-stainless-lang", "js"),
        ("authorization", "Bearer g"),
        ("x-api-key", "g"),
        ("proxy-authorization", "Basic g"),
        ("cookie", "g"),
        ("host", "evil"),
        ("connection", "close, X-Named"),
        ("x-named", "g"),
        ("x-forwarded-for", "g"),
        ("x-forwarded-host", "g"),
        ("forwarded", "host=g"),
        ("x-original-url", "/v1/files"),
        ("x-http-method-override", "DELETE"),
        ("content-type", "application/json; charset=utf-16"),
        ("content-length", "7"),
        ("accept-encoding", "gzip"),
        ("expect", "100-continue"),
        ("te", "trailers"),
    ];
    let expected = map(&[
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "a"),
        ("anthropic-beta", "b"),
        ("user-agent", "cli"),
        ("accept", "application/json"),
        ("x-stainless-lang", "js"),
        ("host", "api.example"),
        ("accept-encoding", "identity"),
        ("content-type", "application/json"),
        ("x-api-key", "the-key"),
    ]);
    assert_eq!(sent(&own, &HeaderMap::new()), expected);
}

#[test]
fn headers_of_the_operator_win_over_those_of_the_client() {
    let custom = parse_custom("X-Team: a\n\nX-Team: b\r\nX-Key: c:d").unwrap();
    let headers = sent(&[("x-team", "evil"), ("x-other", "e")], &custom);
    let team: Vec<_> = headers.get_all("x-team").iter().collect();
    assert_eq!(team, ["a", "b"]);
    assert_eq!(headers["x-key"], "c:d");
    assert_eq!(headers["x-other"], "e");
    assert!(!format!("{custom:?}").contains("c:d"), "{custom:?}");
}

#[test]
fn mistakes_in_headers_of_the_operator_are_listed_without_their_values() {
    let text = "A secret\nHost: secret\nB C: secret\nD: e";
    let mistakes = parse_custom(text).unwrap_err();
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
    assert!(!mistakes.iter().any(|text| text.contains("secret")));
}

#[test]
fn an_answer_keeps_no_header_of_the_connection_and_none_with_the_credential() {
    let own = map(&[
        ("content-type", "text/event-stream"),
        ("content-length", "7"),
        ("request-id", "r"),
        ("anthropic-ratelimit-unified-reset", "1"),
        ("retry-after", "2"),
        ("x-should-retry", "false"),
        ("connection", "x-hop"),
        ("x-hop", "a"),
        ("set-cookie", "a"),
        ("x-echo", "key the-key"),
        ("x-echo-of-the-gateway", "a token-of-the-operator"),
        ("x-short", "shop"),
        ("transfer-encoding", "chunked"),
    ]);
    let custom = map(&[("x-gate", "token-of-the-operator"), ("x-team", "shop")]);
    let kept = answered(&own, b"the-key", &custom);
    let mut names: Vec<_> = kept.keys().map(HeaderName::as_str).collect();
    names.sort_unstable();
    let expected = [
        "anthropic-ratelimit-unified-reset",
        "content-length",
        "content-type",
        "request-id",
        "retry-after",
        "x-short",
        "x-should-retry",
    ];
    assert_eq!(names, expected);
}
