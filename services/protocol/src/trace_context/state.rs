//! The check of `tracestate`, the data that tracing systems pass on for themselves (W3C Trace
//! Context, section 3.3). The services keep the text as it is, and add nothing.

use std::sync::Arc;

/// The longest `tracestate` that is passed on, in bytes. The specification asks for at least 512
/// (section 3.3.1.5); the bound limits what an execution stores.
const BYTES: usize = 512;
/// The most members of a `tracestate` (section 3.3.1.1).
const MEMBERS: usize = 32;

/// Returns the text of a `tracestate` if it is well-formed, has a member, and is within the limits.
/// Otherwise returns `None`: a malformed text is discarded as a whole.
pub(super) fn checked(text: &str) -> Option<Arc<str>> {
    let text = text.trim_matches([' ', '\t', ',']);
    if text.is_empty() || text.len() > BYTES {
        return None;
    }
    let members = text
        .split(',')
        .map(|member| member.trim_matches([' ', '\t']));
    // Empty members are allowed.
    let mut members = members.filter(|member| !member.is_empty());
    let is_valid = members.clone().count() <= MEMBERS && members.all(is_member);
    is_valid.then(|| text.into())
}

/// Returns whether a text is one `key=value`.
fn is_member(member: &str) -> bool {
    let Some((key, value)) = member.split_once('=') else {
        return false;
    };
    let is_key =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-*/@".contains(&byte);
    let begins = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    key.len() <= 256
        && key.bytes().next().as_ref().is_some_and(begins)
        && key.bytes().all(is_key)
        && !value.is_empty()
        && value.len() <= 256
        && value
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=')
}
