//! Random requests of a session, and random results of its open jobs and calls.

use proptest::prelude::*;
use proptest::sample::Index;

/// A request about the execution of this number.
#[derive(Debug, Clone)]
pub(super) enum Request {
    Execute(u8),
    /// An execute without an id, so without an answer.
    ExecuteNotification(u8),
    Attach(u8),
    Detach(u8),
    Cancel(Option<u8>),
    Status(Option<u8>),
    Input(u8),
    Events(u8),
    Share(u8),
    Answer(u8),
    List,
    Ping,
    Nonsense,
}

#[derive(Debug, Clone)]
pub(super) enum Step {
    Request(Request),
    Batch(Vec<Request>),
    /// Finishes an open job or call; true when it succeeds.
    Finish(Index, bool),
}

fn request() -> impl Strategy<Value = Request> {
    use Request::{
        Answer, Attach, Cancel, Detach, Events, Execute, ExecuteNotification, Input, List,
        Nonsense, Ping, Share,
    };
    let id = 0..4_u8;
    prop_oneof![
        3 => id.clone().prop_map(Execute),
        1 => id.clone().prop_map(ExecuteNotification),
        3 => id.clone().prop_map(Attach),
        2 => id.clone().prop_map(Detach),
        1 => prop::option::of(id.clone()).prop_map(Cancel),
        1 => prop::option::of(id.clone()).prop_map(Request::Status),
        1 => id.clone().prop_map(Input),
        1 => id.clone().prop_map(Events),
        1 => id.clone().prop_map(Share),
        1 => id.prop_map(Answer),
        1 => Just(List),
        1 => Just(Ping),
        1 => Just(Nonsense),
    ]
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => request().prop_map(Step::Request),
        1 => prop::collection::vec(request(), 1..4).prop_map(Step::Batch),
        5 => (any::<Index>(), prop::bool::weighted(0.8))
            .prop_map(|(which, well)| Step::Finish(which, well)),
    ]
}
