//! Makes the HTTP calls to claude-api that the requests of a session need. Each call is a separate
//! task and ends within `callMs`. The calls continue when the session ends, so a cancel that was
//! read is still sent.

use std::sync::Arc;

use futures::TryFutureExt;
use protocol::access::ShareRequest;
use protocol::message::{AttachParams, EventsParams, ShareParams};
use protocol::rpc::{RpcError, code};
use tokio::sync::mpsc;

use super::list::gather;
use crate::access::grant::Grant;
use crate::budget::inbound::InboundCharge;
use crate::budget::lists::ListTurns;
use crate::session::completion::{CompletedCall, Completion};
use crate::session::machine::call::{Call, CallReply, Target};
use crate::session::machine::no_live_execution;
use crate::session::machine::open_requests::Token;
use crate::session::shared::Shared;
use crate::session::wire::events_part::EventsPart;
use crate::upstream::Upstream;
use crate::upstream::call_span::note_result;

/// Starts a task that makes `call` for the request with this token. The result is sent to
/// `completions`, or dropped if the session has ended.
///
/// `grant` is the one of the session, whose token the call sends. `turns` lets a list or an events
/// request wait until the session's previous one is read. `charge` is the memory charge of an
/// input or an answer, and is released when the call ends.
pub(super) fn start(
    shared: &Arc<Shared>,
    grant: &Arc<Grant>,
    completions: &mpsc::UnboundedSender<Completion>,
    token: Token,
    call: Call,
    turns: ListTurns,
    charge: Option<Arc<InboundCharge>>,
) {
    let (tracker, shared, completions) = (&shared.tracker, shared.clone(), completions.clone());
    let grant = grant.clone();
    tracker.spawn(async move {
        let upstream = grant.upstream();
        let mut span = upstream.call_span(call.method(), call.named(), None);
        let upstream = upstream.in_span(&span);
        let mut called = Box::new(make(&shared, &grant, &upstream, call, turns).await);
        called.trace = span.context().cloned();
        note_result(&mut span, called.result.as_ref().err());
        drop((span, charge));
        // The session may have ended; the call was made nevertheless.
        let _ = completions.send(Completion::Called(token, called));
    });
}

/// Makes a call to claude-api, and returns its result for the session. A list or an events request
/// first waits for its turn. `upstream` sends the requests in the span of the call.
async fn make(
    shared: &Shared,
    grant: &Grant,
    upstream: &Upstream,
    call: Call,
    turns: ListTurns,
) -> CompletedCall {
    match call {
        Call::List(list) => {
            let page = gather(upstream, list, shared.viewer.status_bytes);
            let page = page.map_ok(|page| CallReply::Page(Box::new(page)));
            in_turn(shared, grant, turns, page).await
        }
        Call::Events(events) => in_turn(shared, grant, turns, events_of(upstream, events)).await,
        Call::Attach(attach) => {
            let AttachParams {
                execution_id,
                offset,
                on_slow: _,
            } = attach;
            let principal = grant.principal().cloned();
            let departures = &shared.handover.departures;
            let view_request = departures.request_view(execution_id, principal);
            let status = upstream.attach(execution_id, offset).await;
            CompletedCall {
                view_request: Some(view_request),
                ..status
                    .map(|status| CallReply::Attach(Box::new(status), attach))
                    .into()
            }
        }
        Call::Status(Target::FirstLive(_))
        | Call::Control(_, Target::FirstLive(_))
        | Call::Input {
            target: Target::FirstLive(_),
            ..
        } => about_first_live(upstream, call).await,
        call => about_one(upstream, call).await.into(),
    }
}

/// Reads a part of an execution's events from claude-api. Without `maxBytes`, it has the greatest
/// length that is allowed.
async fn events_of(upstream: &Upstream, events: EventsParams) -> Result<CallReply, RpcError> {
    let EventsParams {
        execution_id,
        offset,
        max_bytes,
    } = events;
    let limit = max_bytes.unwrap_or(protocol::events::MAX_BYTES);
    let kept = upstream.events(execution_id, offset, limit).await?;
    Ok(CallReply::Events(Box::new(EventsPart {
        id: execution_id,
        offset: kept.offset,
        bytes: kept.bytes,
        is_all: kept.is_all,
        ended: kept.ended,
    })))
}

/// Makes a call about the session's oldest execution that has not ended. Reads the status of each
/// candidate from claude-api, oldest first, and skips those that have ended or are unknown.
///
/// The result is `CallReply::NothingLive` if no candidate is left. An error while reading a status
/// ends the search, because that candidate may still be live.
async fn about_first_live(upstream: &Upstream, call: Call) -> CompletedCall {
    let mut ended = Vec::new();
    let (Call::Status(Target::FirstLive(candidates))
    | Call::Control(_, Target::FirstLive(candidates))
    | Call::Input {
        target: Target::FirstLive(candidates),
        ..
    }) = &call
    else {
        return Err(no_live_execution()).into();
    };
    for id in candidates.clone() {
        let result = match upstream.status(id).await {
            Ok(status) if !status.state.is_terminal() => match call {
                Call::Status(_) => Ok(CallReply::Status(Box::new(status))),
                call => about_one(upstream, call.about(Target::One(id))).await,
            },
            Ok(_) => {
                ended.push(id);
                continue;
            }
            Err(error) if matches!(error.code, code::NO_SUCH_EXECUTION | code::ID_IN_USE) => {
                ended.push(id);
                continue;
            }
            // This candidate may be live, so the next one may not be the first live execution.
            Err(error) => Err(error),
        };
        return CompletedCall {
            ended,
            ..result.into()
        };
    }
    CompletedCall {
        ended,
        ..Ok(CallReply::NothingLive(call)).into()
    }
}

/// Makes a call about an execution whose id is known. Fails for the kinds of calls that the other
/// functions of this module make.
async fn about_one(upstream: &Upstream, call: Call) -> Result<CallReply, RpcError> {
    match call {
        Call::Status(Target::One(id)) => {
            let status = upstream.status(id).await?;
            Ok(CallReply::Status(Box::new(status)))
        }
        Call::Control(control, Target::One(id)) => {
            let status = upstream.control(id, control).await?;
            Ok(CallReply::Status(Box::new(status)))
        }
        Call::Input {
            target: Target::One(id),
            data,
            offset,
            eof,
        } => {
            let accepted = upstream.input(id, data, offset, eof).await?;
            Ok(CallReply::Input(accepted))
        }
        Call::Share(share) => {
            let ShareParams {
                execution_id,
                role,
                expires_seconds,
            } = share;
            let request = ShareRequest {
                role,
                expires_seconds: expires_seconds.unwrap_or(ShareRequest::DEFAULT_SECONDS),
            };
            let share = upstream.share(execution_id, request).await?;
            Ok(CallReply::Share(Box::new(share)))
        }
        Call::Answer {
            execution_id,
            question_id,
            answer,
        } => {
            let answered = upstream.answer(execution_id, question_id, answer).await?;
            Ok(CallReply::Answered(answered))
        }
        // The machine makes no such call.
        Call::List(_)
        | Call::Events(_)
        | Call::Attach(_)
        | Call::Detach(_)
        | Call::Status(_)
        | Call::Control(..)
        | Call::Input { .. } => Err(no_live_execution()),
    }
}

/// Makes the call of a list or an events request, whose answer may be long. First waits until the
/// client has read the previous such answer, then for memory in the budget that all sessions share.
/// Fails with -32004 (queue full, `too_many_lists`) if the session has ended or no memory is
/// available within `callMs`.
async fn in_turn(
    shared: &Shared,
    grant: &Grant,
    turns: ListTurns,
    call: impl Future<Output = Result<CallReply, RpcError>>,
) -> CompletedCall {
    let full = || {
        RpcError::new(
            code::QUEUE_FULL,
            "too_many_lists",
            "the lists and events of other sessions leave no memory for this request; \
             try again later",
        )
    };
    let Some(turn) = turns.take().await else {
        // The session has ended.
        return Err(full()).into();
    };
    let patience = grant.upstream().times.call;
    let budgets = &shared.budgets;
    let principal = grant.quota().map(|quota| budgets.of_principal(quota));
    let part = principal.as_ref().map(|principal| &principal.lists);
    let Some(_memory) = budgets.lists.take(part, patience).await else {
        return Err(full()).into();
    };
    CompletedCall {
        turn: Some(turn),
        ..call.await.into()
    }
}
