use super::*;

const GOOD: &str = "POST /v1/messages HTTP/1.1\r\nHost: a\r\n";

fn mistake(head: impl AsRef<[u8]>) -> Option<String> {
    parse(head.as_ref()).err().map(|refusal| {
        assert_eq!(refusal.status, 400);
        refusal.message
    })
}

#[test]
fn a_plain_head_is_parsed() {
    let head = format!("{GOOD}x-api-key:  g \r\nContent-Length: 12\r\n\r\n");
    let head = parse(head.as_bytes()).unwrap();
    assert_eq!((head.method, head.target), ("POST", "/v1/messages"));
    assert_eq!(head.grant(), Some("g"));
    assert!(head.has_body());
}

#[test]
fn an_ambiguous_head_is_refused() {
    for line in [
        "Content-Length: 1\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 1",
        "Content-Length: 1\r\nContent-Length: 1",
        "Content-Length: 1, 1",
        "Content-Length: +1",
        "Content-Length: -1",
        "Content-Length: 0x1",
        "Content-Length:",
        "Content-Length: 9999999999999999",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding:",
        "Transfer-Encoding : chunked",
        " Transfer-Encoding: chunked",
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A: b\nC: d\0",
        "A: b\rC: d",
        "A\0: b",
        "A: \u{7f}",
        ": b",
        "A",
        "Host: b",
        "Upgrade: websocket",
        "upgrade: h2c",
        "Content-Encoding: gzip",
        "Content-Encoding: br",
        "Expect: 200-ok",
    ] {
        let head = format!("{GOOD}{line}\r\n\r\n");
        assert!(mistake(&head).is_some(), "{line:?}");
    }
    assert!(
        mistake("POST / HTTP/1.1\r\nA: b\r\n\r\n").is_some(),
        "no Host"
    );
    let many = "A: b\r\n".repeat(HEADERS);
    assert!(mistake(format!("{GOOD}{many}\r\n")).is_some());
}

#[test]
fn a_request_line_has_three_words_and_the_version() {
    for line in [
        "POST /v1/messages HTTP/1.0",
        "POST /v1/messages HTTP/2.0",
        "POST /v1/messages",
        "POST  /v1/messages HTTP/1.1",
        "POST /v1/messages  HTTP/1.1",
        "POST /v1/messages HTTP/1.1 ",
        " POST /v1/messages HTTP/1.1",
        "POST\t/v1/messages HTTP/1.1",
        "POST /v1/\tmessages HTTP/1.1",
        "POST /v1/messagés HTTP/1.1",
        "P(ST /v1/messages HTTP/1.1",
        "",
    ] {
        let head = format!("{line}\r\nHost: a\r\n\r\n");
        assert!(mistake(&head).is_some(), "{line:?}");
    }
}

/// A bare line feed ends a line for some readers and not for others.
#[test]
fn a_line_ends_with_carriage_return_and_line_feed() {
    assert!(mistake("POST / HTTP/1.1\nHost: a\r\n\r\n").is_some());
    assert!(mistake("POST / HTTP/1.1\r\nHost: a\nB: c\r\n\r\n").is_some());
    assert_eq!(mistake("POST / HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"), None);
}

#[test]
fn the_grant_is_the_only_value_of_both_headers() {
    let grant = |lines: &str| {
        let head = format!("{GOOD}{lines}\r\n");
        parse(head.as_bytes()).unwrap().grant().map(str::to_owned)
    };
    assert_eq!(grant("X-Api-Key: g\r\n").as_deref(), Some("g"));
    assert_eq!(grant("Authorization: Bearer g\r\n").as_deref(), Some("g"));
    assert_eq!(grant("authorization: bearer g\r\n").as_deref(), Some("g"));
    for none in [
        "",
        "Authorization: Basic g\r\n",
        "Authorization: Bearer\r\n",
        "Authorization: g\r\n",
        "X-Api-Key: g\r\nX-Api-Key: g\r\n",
        "X-Api-Key: g\r\nAuthorization: Bearer g\r\n",
        "X-Api-Key: g\r\nAuthorization: Basic g\r\n",
    ] {
        assert_eq!(grant(none), None, "{none:?}");
    }
}

#[test]
fn the_length_of_a_head_is_known_when_its_empty_line_has_arrived() {
    let head = b"GET / HTTP/1.1\r\n\r\nrest";
    for end in 0..=head.len() {
        for searched in 0..end.min(18) {
            let expected = (end >= 18).then_some(18);
            assert_eq!(
                length(&head[..end], searched),
                expected,
                "{searched} of {end}"
            );
        }
    }
    assert_eq!(length(b"", 0), None);
    // Bytes that were searched are not searched again.
    assert_eq!(length(head, 22), None);
}
