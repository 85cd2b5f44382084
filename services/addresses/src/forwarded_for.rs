//! The parser of the header `X-Forwarded-For`: a list of IP addresses, to which each proxy on the
//! way appends the address of its own client.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use thiserror::Error;

/// The maximum size of all lines of the header together, in bytes.
const MAX_BYTES: usize = 4096;
/// The maximum number of addresses in all lines of the header together. Real requests pass a few
/// proxies.
const MAX_ADDRESSES: usize = 64;
/// The maximum number of characters of a malformed address that an error quotes.
const QUOTED_CHARS: usize = 64;

/// The reason why the client of a proxy could not be determined.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BadForwardedFor {
    /// A proxy sent the request without the header.
    #[error(
        "this request came from a proxy without X-Forwarded-For; let the proxy set that header to \
         the address of its client"
    )]
    Missing,
    /// The header has no text.
    #[error("X-Forwarded-For is empty; let the proxy set it to the address of its client")]
    Empty,
    /// The header has more bytes or addresses than allowed.
    #[error("X-Forwarded-For is longer than {MAX_BYTES} bytes or {MAX_ADDRESSES} addresses")]
    TooLong,
    /// An element of the list is not an IP address. The text is the start of that element.
    #[error("X-Forwarded-For has {0:?}, which is not an IP address")]
    Malformed(String),
    /// Every address of the list is one of a trusted proxy.
    #[error(
        "X-Forwarded-For has only addresses of trusted proxies, so the client is not known; the \
         list of trusted proxies must not include clients"
    )]
    OnlyProxies,
    /// It is not known whether the peer is a trusted proxy, because the name of one does not
    /// resolve.
    #[error(
        "X-Forwarded-For cannot be judged, because the name of a trusted proxy does not resolve; \
         try again, or remove that name from the list of trusted proxies"
    )]
    UnknownProxies,
}

/// Parses the addresses in all lines of the header, in their order. An address may be in brackets
/// (IPv6) and may have a port, which is ignored. IPv4-mapped IPv6 addresses are returned as IPv4.
///
/// # Errors
/// The header is missing, empty, too long or malformed. The whole list must be well-formed, also
/// the part that the client itself may have written.
pub(crate) fn parse<'h>(
    lines: impl Iterator<Item = &'h [u8]>,
) -> Result<Vec<IpAddr>, BadForwardedFor> {
    let mut bytes = 0;
    let mut elements = Vec::new();
    for line in lines {
        bytes += line.len();
        if bytes > MAX_BYTES {
            return Err(BadForwardedFor::TooLong);
        }
        elements.extend(line.split(|byte| *byte == b',').map(trim));
    }
    if elements.is_empty() {
        return Err(BadForwardedFor::Missing);
    }
    if elements.iter().all(|element| element.is_empty()) {
        return Err(BadForwardedFor::Empty);
    }
    if elements.len() > MAX_ADDRESSES {
        return Err(BadForwardedFor::TooLong);
    }
    let parsed = elements.into_iter().map(|element| {
        address(element).ok_or_else(|| {
            let text = String::from_utf8_lossy(element);
            BadForwardedFor::Malformed(text.chars().take(QUOTED_CHARS).collect())
        })
    });
    parsed.collect()
}

/// Removes the optional whitespace (RFC 9110, section 5.6.3) around an element of the list.
fn trim(element: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(start) = element.iter().position(is_text) else {
        return &[];
    };
    let end = element
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    &element[start..end]
}

/// Parses one address: `1.2.3.4`, `1.2.3.4:5`, `::1`, `[::1]` or `[::1]:5`. `None` for anything
/// else.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?;
    let bare = || text.parse::<IpAddr>().ok();
    let with_port = || Some(text.parse::<SocketAddr>().ok()?.ip());
    let in_brackets = || {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
    };
    let address = bare().or_else(with_port).or_else(in_brackets)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(lines: &[&str]) -> Result<Vec<IpAddr>, BadForwardedFor> {
        parse(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn every_form_of_an_address_is_accepted() {
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1:8080", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
            (" \t192.0.2.1\t ", "192.0.2.1"),
        ] {
            assert_eq!(
                parsed(&[text]),
                Ok(vec![expected.parse().unwrap()]),
                "{text}"
            );
        }
    }

    #[test]
    fn lines_are_joined_in_their_order() {
        let all = parsed(&["192.0.2.1, 192.0.2.2", "192.0.2.3"]).unwrap();
        let expected = [1, 2, 3].map(|last| IpAddr::from([192, 0, 2, last]));
        assert_eq!(all, expected);
    }

    #[test]
    fn a_header_without_addresses_is_missing_or_empty() {
        assert_eq!(parsed(&[]), Err(BadForwardedFor::Missing));
        for lines in [&[""][..], &["  "], &["", ""], &[","], &[" , ,"]] {
            assert_eq!(parsed(lines), Err(BadForwardedFor::Empty), "{lines:?}");
        }
    }

    #[test]
    fn one_malformed_element_refuses_the_whole_header() {
        for bad in [
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.1.",
            "192.0.2.256",
            "192.0.2.1:",
            "192.0.2.1:65536",
            "[192.0.2.1]",
            "[2001:db8::1",
            "2001:db8::1]:443",
            "fe80::1%eth0",
            "192.0.2.1/32",
            "\"192.0.2.1\"",
            "192.0.2.1 192.0.2.2",
            "",
        ] {
            let malformed = Err(BadForwardedFor::Malformed(bad.to_owned()));
            assert_eq!(parsed(&[bad, "192.0.2.9"]), malformed, "{bad}");
            assert_eq!(parsed(&[&format!("192.0.2.9,{bad}")]), malformed, "{bad}");
        }
        let bytes = parse([&b"\xff\xfe"[..]].into_iter());
        assert!(matches!(bytes, Err(BadForwardedFor::Malformed(_))));
    }

    #[test]
    fn a_long_header_is_refused() {
        let addresses = |count: usize| vec!["192.0.2.1"; count].join(",");
        assert_eq!(parsed(&[&addresses(64)]).unwrap().len(), 64);
        assert_eq!(parsed(&[&addresses(65)]), Err(BadForwardedFor::TooLong));
        let spaces = |count: usize| format!("192.0.2.1{}", " ".repeat(count));
        assert!(parsed(&[&spaces(4096 - 9)]).is_ok());
        assert_eq!(parsed(&[&spaces(4096 - 8)]), Err(BadForwardedFor::TooLong));
        let word = "x".repeat(200);
        let quoted = Err(BadForwardedFor::Malformed("x".repeat(64)));
        assert_eq!(parsed(&[&word]), quoted);
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(
            lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4),
        ) {
            let _ = parse(lines.iter().map(Vec::as_slice));
        }

        #[test]
        fn every_list_of_addresses_is_parsed_however_it_is_split(
            addresses in prop::collection::vec((any::<IpAddr>(), any::<Option<u16>>()), 1..20),
            lines in 1_usize..4,
        ) {
            let text = |(ip, port): &(IpAddr, Option<u16>)| match port {
                Some(port) => SocketAddr::new(*ip, *port).to_string(),
                None => ip.to_string(),
            };
            let chunks = addresses.chunks(addresses.len().div_ceil(lines));
            let lines: Vec<_> = chunks
                .map(|chunk| chunk.iter().map(text).collect::<Vec<_>>().join(", "))
                .collect();
            let parsed = parse(lines.iter().map(String::as_bytes));
            let expected: Vec<_> = addresses.iter().map(|(ip, _)| ip.to_canonical()).collect();
            prop_assert_eq!(parsed, Ok(expected));
        }
    }
}
