//! The principals of a run. Each has a token and clients of its own, and marks all its data.
//!
//! The mark of a principal is also its name in the token file. It is in each lane, output, metadata
//! and stderr of its executions, and the ids of these begin with its bytes. So anything that
//! belongs to another principal is recognised in any message, whatever the field.

use std::net::SocketAddr;

use rand::{Rng, rngs::StdRng};

use crate::{
    harness::{Stack, Tokens},
    http::Http,
};

/// The marks of the principals. All begin with [`STEM`], and no other text of a run has it.
pub(super) const MARKS: [&str; 3] = ["markofalder", "markofbirch", "markofcedar"];
/// The common begin of all marks, which one search finds.
pub(super) const STEM: &str = "markof";
/// The first bytes of each id that clients of a principal choose.
pub(super) const ID_BYTES: [[u8; 6]; 3] = [
    [0xa1, 0xde, 0xa1, 0xde, 0xa1, 0xde],
    [0xb1, 0x2c, 0xb1, 0x2c, 0xb1, 0x2c],
    [0xce, 0xda, 0xce, 0xda, 0xce, 0xda],
];
/// The token with which the run itself looks at all principals.
const ADMIN: &str = "admin";

/// One principal.
#[derive(Debug)]
pub(super) struct Principal {
    /// The place among all principals of the run.
    pub(super) number: usize,
    /// The name in the token file; `None` without tokens.
    pub(super) name: Option<&'static str>,
    /// The token of all clients of this principal; `None` without tokens.
    pub(super) token: Option<String>,
    /// A client of claude-api with the token, which bypasses the proxies.
    pub(super) http: Http,
}

impl Principal {
    /// Returns the mark of all data of this principal; empty without tokens.
    pub(super) fn mark(&self) -> &'static str {
        self.name.unwrap_or_default()
    }

    /// Returns a name for a message to the reader of a violation.
    pub(super) fn shown(&self) -> &'static str {
        self.name.unwrap_or("everybody")
    }

    /// Creates an id, which has the mark of this principal.
    pub(super) fn new_id(&self, rng: &mut StdRng) -> String {
        let mut id = [0_u8; 16];
        rng.fill(&mut id);
        if let Some(mark) = self.name.and(ID_BYTES.get(self.number)) {
            id[..mark.len()].copy_from_slice(mark);
        }
        uuid::Builder::from_random_bytes(id).into_uuid().to_string()
    }
}

/// Returns the tokens of all principals and of an admin.
pub(super) fn tokens() -> Tokens {
    MARKS.iter().fold(
        Tokens::default().with(ADMIN, "admin", &[]),
        |tokens, name| tokens.with(name, "control", &[]),
    )
}

/// Returns the principals of a run: one without a name if there are no tokens.
pub(super) fn all(stack: &Stack, tokens: Option<&Tokens>) -> Vec<Principal> {
    let address = stack.api.addr();
    let Some(tokens) = tokens else {
        return vec![Principal {
            number: 0,
            name: None,
            token: None,
            http: Http::new(address),
        }];
    };
    let principal = |(number, name): (usize, &&'static str)| {
        let token = tokens.secret(name);
        Principal {
            number,
            name: Some(name),
            token: Some(token.to_owned()),
            http: Http::with_token(address, token),
        }
    };
    MARKS.iter().enumerate().map(principal).collect()
}

/// Returns a client of a service that sees all principals.
pub(super) fn admin(service: SocketAddr, tokens: Option<&Tokens>) -> Http {
    match tokens {
        Some(tokens) => Http::with_token(service, tokens.secret(ADMIN)),
        None => Http::new(service),
    }
}
