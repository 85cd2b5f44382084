//! The status of an execution as one client may see it.

use protocol::Status;

use crate::access::Caller;

/// The status of an execution with the fields that one client may see. Every status in a response
/// is of this type, and its only constructor takes the client. So no handler can send a hidden
/// field by mistake.
///
/// A share hides all other executions of its principal. Three fields tell about those, and are null
/// for the holder of a share:
/// - `queuePosition` counts the executions of the principal that wait.
/// - `continues` is the id of an earlier execution, and `continuedBy` that of a later one.
#[derive(Debug, Clone)]
pub struct VisibleStatus(Status);

impl VisibleStatus {
    /// Removes the fields of `status` that this client may not see.
    pub(super) fn new(mut status: Status, caller: &Caller) -> Self {
        if caller.is_share() {
            status.queue_position = None;
            status.continues = None;
            status.continued_by = None;
        }
        Self(status)
    }

    /// Returns the name of the execution's workspace.
    pub(crate) fn workspace(&self) -> &str {
        &self.0.workspace
    }

    /// Returns the state of the execution.
    #[cfg(test)]
    pub(crate) fn state(&self) -> protocol::State {
        self.0.state
    }

    /// Serializes the status as one line of JSON of at most `limit` bytes, as [`Status::to_json`]
    /// does.
    pub(crate) fn to_json(&self, limit: usize) -> Vec<u8> {
        self.0.to_json(limit)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::access::ShareRole;
    use protocol::{ExecutionId, Role, SecretHash};
    use serde_json::{Value, json};
    use spool::Owner;

    use super::*;
    use crate::access::table;

    #[test]
    fn a_status_for_a_share_hides_other_executions_and_nothing_else() {
        let [id, earlier, later] = [(); 3].map(|()| ExecutionId::random());
        let mut status = Status::queued(id, Timestamp::UNIX_EPOCH, "default".to_owned());
        status.queue_position = Some(3);
        status.continues = Some(earlier);
        status.continued_by = Some(later);
        let shown = |caller: &Caller| -> Value {
            let json = VisibleStatus::new(status.clone(), caller).to_json(64 * 1024);
            serde_json::from_slice(&json).unwrap()
        };
        let whole = serde_json::to_value(&status).unwrap();
        let row = table::tests::row("a", "p", Role::View);
        assert_eq!(shown(&Caller::anyone()), whole);
        assert_eq!(shown(&Caller::token(row)), whole);
        let mut expected = whole;
        for hidden in ["queuePosition", "continues", "continuedBy"] {
            expected[hidden] = json!(null);
        }
        for role in [ShareRole::View, ShareRole::Control] {
            let hash = SecretHash::of(b"share");
            let share = Caller::share(id, Owner::of("p"), role, Timestamp::MAX, hash);
            assert_eq!(shown(&share), expected);
        }
    }
}
