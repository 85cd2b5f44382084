//! Missing, malformed, altered, expired and removed tokens, and secrets in a wrong place.

use cc_tests::raw_http::RawRequest;

use super::Attempt;
use super::world::{World, put};

pub(super) fn attempts(world: &World) -> Vec<Attempt> {
    let mut all = schemes(world);
    all.extend(repeated(world));
    all.extend(altered(world));
    all.extend(other_bytes(world));
    all.extend(other_places(world));
    all
}

fn unauthorized(what: &str, value: impl AsRef<[u8]>) -> Attempt {
    Attempt::unauthorized(what, put().header("Authorization", value))
}

/// No token, and other schemes than `Bearer`.
fn schemes(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    // base64 of "alice:" and of "alice:secret"; the scheme alone decides.
    vec![
        Attempt::unauthorized("no token", put()),
        unauthorized("an empty header", ""),
        unauthorized("a scheme without a token", "Bearer"),
        unauthorized("a scheme with a blank", "Bearer "),
        unauthorized("a token without a scheme", token),
        unauthorized("the scheme Token", format!("Token {token}")),
        unauthorized("the scheme Basic", "Basic YWxpY2U6c2VjcmV0"),
        unauthorized("the scheme Basic with the token", format!("Basic {token}")),
        unauthorized("the scheme Digest", "Digest username=\"alice\""),
        unauthorized("a longer scheme", format!("BearerX {token}")),
        unauthorized("two schemes", format!("Bearer Bearer {token}")),
        unauthorized("a tab for the blank", format!("Bearer\t{token}")),
        unauthorized("a colon for the blank", format!("Bearer:{token}")),
        unauthorized("the name of a token", "Bearer alice"),
        unauthorized("the principal", "Bearer team-a"),
        unauthorized(
            "a signed token of nobody",
            "Bearer eyJhbGciOiJub25lIn0.eyJyIjoiYSJ9.",
        ),
        unauthorized("null", "Bearer null"),
        unauthorized("a wildcard", "Bearer *"),
    ]
}

/// Several values of the header.
fn repeated(world: &World) -> Vec<Attempt> {
    let (right, wrong) = (world.token("alice"), world.foreign.as_str());
    let twice = |what: &str, first: &str, second: &str| {
        let request = put().bearer(first).bearer(second);
        Attempt::unauthorized(what, request)
    };
    let other_case = put()
        .bearer(wrong)
        .header("AUTHORIZATION", format!("Bearer {right}"));
    vec![
        twice("a wrong token, then a right one", wrong, right),
        twice("a right token, then a wrong one", right, wrong),
        twice("a right token twice", right, right),
        Attempt::unauthorized("a second header in another case", other_case),
        unauthorized(
            "two in one header",
            format!("Bearer {wrong}, Bearer {right}"),
        ),
        unauthorized("two tokens", format!("Bearer {wrong} {right}")),
        unauthorized("a list of tokens", format!("Bearer {right},{wrong}")),
    ]
}

/// A right token with another beginning, end or letter; and tokens that are not in force.
fn altered(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let wrong = |what: &str, text: &str| unauthorized(what, format!("Bearer {text}"));
    let bare = token.strip_prefix("ccb_").expect("the prefix of a token");
    let flipped = |at: usize| {
        let mut text = token.to_owned().into_bytes();
        text[at] = if text[at] == b'A' { b'B' } else { b'A' };
        String::from_utf8(text).expect("ASCII")
    };
    let hash = protocol::SecretHash::of(token.as_bytes()).to_string();
    let swapped: String = token.chars().map(swap_case).collect();
    vec![
        wrong("one letter less at the end", &token[..46]),
        wrong("half of a token", &token[..23]),
        wrong("one letter less at the beginning", &token[1..]),
        wrong("the prefix alone", "ccb_"),
        wrong("no prefix", bare),
        wrong("half of the prefix", &token[2..]),
        wrong("the prefix twice", &format!("ccb_{token}")),
        wrong("the prefix of a share", &format!("ccbs_{bare}")),
        wrong("the prefix of a session", &format!("ccbt_{bare}")),
        wrong("one letter more", &format!("{token}A")),
        wrong("padding", &format!("{token}=")),
        wrong("encoded padding", &format!("{token}%3D")),
        wrong("the token twice", &format!("{token}{token}")),
        wrong("the first letter of the secret changed", &flipped(4)),
        wrong("a letter in the middle changed", &flipped(25)),
        wrong("the last letter changed", &flipped(46)),
        wrong("upper case", &token.to_ascii_uppercase()),
        wrong("lower case", &token.to_ascii_lowercase()),
        wrong("the other case of each letter", &swapped),
        wrong("the prefix in upper case", &format!("CCB_{bare}")),
        wrong("quotes", &format!("\"{token}\"")),
        wrong("its SHA-256", &hash),
        wrong("a token of another service", &world.foreign),
        wrong("an expired token", world.token("expired")),
        wrong("a removed token", world.token("removed")),
    ]
}

fn swap_case(c: char) -> char {
    match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    }
}

/// Bytes that no token has.
fn other_bytes(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let (head, tail) = token.split_at(20);
    let between = |bytes: &[u8]| [b"Bearer ", head.as_bytes(), bytes, tail.as_bytes()].concat();
    let after = |bytes: &[u8]| [b"Bearer ", token.as_bytes(), bytes].concat();
    let refused =
        |what: &str, value: Vec<u8>| Attempt::bare(what, put().header("Authorization", value), 400);
    vec![
        unauthorized("a blank within", between(b" ")),
        unauthorized("a tab within", between(b"\t")),
        unauthorized("a comma at the end", after(b",")),
        unauthorized("a semicolon at the end", after(b"; x=y")),
        unauthorized("an encoded blank", after(b"%20")),
        unauthorized("an encoded NUL", after(b"%00")),
        unauthorized("UTF-8 at the end", after("\u{e9}".as_bytes())),
        unauthorized("Latin-1 at the end", after(b"\xe9")),
        unauthorized("a no-break space at the end", after("\u{a0}".as_bytes())),
        unauthorized("a Cyrillic letter", between("\u{430}".as_bytes())),
        unauthorized("10 KiB more", after(&[b'A'; 10 << 10])),
        unauthorized("10 KiB", [b"Bearer ", &[b'A'; 10 << 10][..]].concat()),
        unauthorized("513 letters", [b"Bearer ", &[b'A'; 513][..]].concat()),
        refused("a NUL within", between(b"\0")),
        refused("a NUL at the end", after(b"\0")),
        refused("a carriage return within", between(b"\r")),
        refused("a newline within", between(b"\n")),
        refused("a folded line within", between(b"\r\n ")),
        refused("an escape", between(b"\x1b")),
        refused("DEL", between(b"\x7f")),
        Attempt::bare(
            "a folded line after the name",
            put()
                .line("Authorization:")
                .line(format!(" Bearer {token}")),
            400,
        ),
        Attempt::bare(
            "a blank after the name",
            put().line(format!("Authorization : Bearer {token}")),
            400,
        ),
        Attempt::bare(
            "a header of 1 MiB",
            put().header("Authorization", [b"Bearer ", &[b'A'; 1 << 20][..]].concat()),
            431,
        ),
    ]
}

/// A right token where it does not belong.
fn other_places(world: &World) -> Vec<Attempt> {
    let token = world.token("alice");
    let in_header = |name: &str, value: String| {
        Attempt::unauthorized(format!("in {name}"), put().header(name, value))
    };
    let id = crate::support::id();
    let query = |name: &str| {
        let target = format!("/v1/executions/{id}?{name}={token}");
        let request = RawRequest::new("PUT", &target).body(super::world::REACHED);
        Attempt::unauthorized(format!("in the query as {name}"), request)
    };
    let with_header =
        RawRequest::new("GET", &format!("/v1/executions?token={token}")).bearer(token);
    let list = RawRequest::new("GET", &format!("/v1/executions?access_token={token}"));
    let chunked = put()
        .header("Trailer", "Authorization")
        .header("Transfer-Encoding", "chunked")
        .body_without_length(format!(
            "19\r\n{}\r\n0\r\nAuthorization: Bearer {token}\r\n\r\n",
            super::world::REACHED
        ));
    let form = put()
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("access_token={token}"));
    vec![
        query("token"),
        query("access_token"),
        query("authorization"),
        Attempt::unauthorized("in the query of a list", list),
        Attempt::new("in header and query", with_header, 400, "invalid-query"),
        in_header("Cookie", format!("token={token}")),
        in_header(
            "Cookie",
            format!("Authorization=Bearer {token}; access_token={token}"),
        ),
        in_header("Proxy-Authorization", format!("Bearer {token}")),
        in_header("X-Authorization", format!("Bearer {token}")),
        in_header("X-Forwarded-Authorization", format!("Bearer {token}")),
        in_header("X-Api-Key", token.to_owned()),
        in_header(
            "Sec-WebSocket-Protocol",
            format!("ccb.v1, ccb.bearer.{token}"),
        ),
        Attempt::unauthorized("in a trailer", chunked),
        Attempt::unauthorized("in a form", form),
        Attempt::unauthorized(
            "in the path",
            RawRequest::new("GET", &format!("/v1/executions/{token}")),
        ),
    ]
}
