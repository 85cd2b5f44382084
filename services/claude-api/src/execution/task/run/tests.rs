//! Controls that arrive while the CLI is being started.

use protocol::Reason;

use super::*;
use crate::execution::Control;
use crate::service::testing::{accepted, open, owner, status};

#[tokio::test]
async fn a_cancel_before_a_failed_start_counts() {
    for (asked, expected) in [
        (&[][..], (State::Failed, Some(Reason::SpawnFailed))),
        (&[Control::Cancel], (State::Cancelled, None)),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let service = open(dir.path());
        let id = accepted(&service, State::Running);
        let (mut owner, ticket) = owner(&service, id, asked);
        let ended = Box::pin(run(&mut owner, status(&service, id), &ticket)).await;
        service.finish(&mut owner, ended).await;
        let end = status(&service, id);
        assert_eq!((end.state, end.reason), expected, "{asked:?}");
        assert_eq!((end.exit_code, end.continued_by), (None, None));
    }
}
