//! Small answers: a page of a list, and the accepted input.

use serde_json::Value;

use crate::schema::{Object, count, list, or_null, reference};

/// Returns the schema of a page of statuses.
pub(super) fn page() -> Value {
    Object::new("A page of executions, newest first.")
        .field(
            "executions",
            list(reference("Status"), "The statuses, newest first."),
        )
        .field("next", or_null(reference("ExecutionId")))
        .build()
}

/// Returns the schema of the answer to input.
pub(super) fn accepted() -> Value {
    let total = "The total of accepted bytes of input, which is the offset of the next call.";
    Object::new("The answer to input.")
        .field("accepted", count(total))
        .build()
}

#[cfg(test)]
mod tests {
    use protocol::Page;
    use protocol::message::Accepted;

    use super::*;
    use crate::names::fields;
    use crate::shared::tests::assert_fields;

    #[test]
    fn fields_agree_with_the_types() {
        assert_fields(&page(), fields::<Page>());
        assert_fields(&accepted(), fields::<Accepted>());
    }
}
