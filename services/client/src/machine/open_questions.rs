//! The questions that a run has yielded and that are open as far as the client knows. It decides
//! which messages about questions a run sees, so that it sees each question and its closing once.

use std::collections::BTreeMap;

use protocol::Status;
use uuid::Uuid;

/// The connection that has announced a question: the present one or an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// The bridge has announced the question on this connection, so it will announce how the
    /// question was closed.
    Announced,
    /// Only an earlier connection has announced the question, so it may be closed unseen.
    Earlier,
}

/// The open questions of one run, across reconnects.
#[derive(Debug, Default)]
pub(super) struct OpenQuestions(BTreeMap<Uuid, Seen>);

impl OpenQuestions {
    /// Handles a question that the bridge announces. Returns true if the run has not yielded it
    /// yet.
    pub(super) fn asked(&mut self, id: Uuid) -> bool {
        self.0.insert(id, Seen::Announced).is_none()
    }

    /// Handles a question that was closed, as the bridge announces. Returns true if the run has
    /// yielded the question as open.
    pub(super) fn closed(&mut self, id: Uuid) -> bool {
        self.0.remove(&id).is_some()
    }

    /// Handles a new view of the bridge. It announces the open questions again, and says nothing
    /// of those that were closed meanwhile.
    pub(super) fn attached(&mut self) {
        for seen in self.0.values_mut() {
            *seen = Seen::Earlier;
        }
    }

    /// Removes and returns the questions that were closed between two views, as a status of the
    /// present view shows. A status may list only the oldest open questions. Then it closes none.
    pub(super) fn closed_unseen(&mut self, status: &Status) -> Vec<Uuid> {
        let is_whole = status.questions_open <= status.questions.len() as u64;
        if !is_whole {
            return Vec::new();
        }
        let is_open = |id: Uuid| status.questions.iter().any(|open| open.question_id == id);
        let closed = |id: &Uuid, seen: &mut Seen| *seen == Seen::Earlier && !is_open(*id);
        self.0.extract_if(.., closed).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use protocol::ExecutionId;
    use protocol::question::{OpenQuestion, QuestionKind};

    use super::*;

    const ONE: Uuid = Uuid::from_u128(1);
    const TWO: Uuid = Uuid::from_u128(2);

    /// Returns a status with these questions, of which more may be open than it lists.
    fn status(listed: &[Uuid], open: u64) -> Status {
        let mut status = Status::queued(ExecutionId::random(), Timestamp::UNIX_EPOCH, "w".into());
        status.questions = listed
            .iter()
            .map(|id| OpenQuestion {
                question_id: *id,
                kind: QuestionKind::Permission,
                tool: "Bash".into(),
                title: "ls".into(),
                asked_at: Timestamp::UNIX_EPOCH,
                expires_at: None,
            })
            .collect();
        status.questions_open = open;
        status
    }

    #[test]
    fn a_question_and_its_end_are_seen_once() {
        let mut questions = OpenQuestions::default();
        assert!(questions.asked(ONE) && !questions.asked(ONE));
        assert!(!questions.closed(TWO));
        assert!(questions.closed(ONE) && !questions.closed(ONE));
    }

    #[test]
    fn a_question_that_is_announced_again_after_a_reconnect_is_not_new() {
        let mut questions = OpenQuestions::default();
        questions.asked(ONE);
        questions.attached();
        assert!(questions.closed_unseen(&status(&[ONE], 1)).is_empty());
        assert!(!questions.asked(ONE));
        assert!(questions.closed_unseen(&status(&[], 0)).is_empty());
        assert!(questions.closed(ONE));
    }

    #[test]
    fn a_question_that_is_gone_after_a_reconnect_is_closed() {
        let mut questions = OpenQuestions::default();
        questions.asked(ONE);
        questions.asked(TWO);
        // The bridge will say how it was closed.
        assert!(questions.closed_unseen(&status(&[TWO], 1)).is_empty());
        questions.attached();
        assert_eq!(questions.closed_unseen(&status(&[TWO], 1)), [ONE]);
        assert!(questions.closed_unseen(&status(&[TWO], 1)).is_empty());
    }

    #[test]
    fn a_status_that_lists_a_part_closes_nothing() {
        let mut questions = OpenQuestions::default();
        questions.asked(ONE);
        questions.attached();
        assert!(questions.closed_unseen(&status(&[TWO], 2)).is_empty());
        assert_eq!(questions.closed_unseen(&status(&[], 0)), [ONE]);
    }
}
