//! Shares (docs/protocol.md, "Shares").

use protocol::access::{ShareRequest, ShareRole};
use serde_json::{Value, json};

use super::ids::UUID_PATTERN;
use crate::names::word;
use crate::schema::{Object, described, range, text, time, with_default};

/// Returns the schema of the role of a share.
pub(crate) fn share_role() -> Value {
    let schema = word::<ShareRole>("What the share permits.");
    with_default(schema, json!(ShareRole::default()))
}

/// Returns the schema of the lifetime of a share.
pub(crate) fn expires_seconds() -> Value {
    let schema = range(
        1,
        ShareRequest::MAX_SECONDS,
        "How long the share is valid, in seconds.",
    );
    with_default(schema, ShareRequest::DEFAULT_SECONDS)
}

/// Returns the schema of a new share.
pub(super) fn share() -> Value {
    let id = json!({ "type": "string", "format": "uuid", "pattern": UUID_PATTERN });
    Object::new("A new share. Only this answer has its token.")
        .field("shareId", described(id, "The id that ends the share."))
        .field("token", text("The secret that opens the execution."))
        .field("role", word::<ShareRole>("What the share permits."))
        .field("expires", time("When the share ends."))
        .build()
}

#[cfg(test)]
mod tests {
    use protocol::access::Share;

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_type() {
        assert_fields(&share(), fields::<Share>());
    }
}
