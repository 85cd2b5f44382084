//! The fields of each message of the WebSocket, against the tables "Notifications", "Requests" and
//! "Request parameters".
//!
//! The code's side is one value of each type with every field set, as JSON. The values are written
//! without `..`, so that a new field of a type does not compile here until it is named.

use std::collections::{BTreeMap, BTreeSet};

use protocol::access::{Share, ShareRole};
use protocol::message::{
    Accepted, AnswerParams, AttachParams, Capabilities, Connected, Control, ControlParams,
    DetachParams, Empty, EventsParams, ExecuteParams, Gap, InputParams, ListParams, Method, Notice,
    Notification, Output, OutputType, PingParams, RejectedExecute, ShareParams, StatusParams,
    StatusUpdate, StatusWord, Upstream,
};
use protocol::question::{
    Answered, ClosedBy, ClosedQuestion, Decision, Question, QuestionAsked, QuestionClosed,
    QuestionKind,
};
use protocol::rpc::{OnDisconnect, OnSlow, RpcError};
use protocol::{Body, Events, ExecutionId, Page, State, Status};
use serde::Serialize;
use serde_json::Value;

use crate::{compare, members, page};

/// A field of a message: its message and its name.
type Field = [String; 2];

fn fields(message: &str, value: &impl Serialize) -> Vec<Field> {
    let names = members(value).into_iter();
    names.map(|name| [message.to_owned(), name]).collect()
}

fn parameters<P: Method>(params: &P) -> Vec<Field> {
    fields(P::NAME, params)
}

fn params_of<N: Notification>(params: &N) -> Vec<Field> {
    fields(N::METHOD, params)
}

fn status() -> Status {
    let at = jiff::Timestamp::UNIX_EPOCH;
    Status::queued(ExecutionId::random(), at, "w".to_owned())
}

fn error() -> RpcError {
    RpcError {
        code: -32603,
        message: "m".to_owned(),
        data: Value::from("d"),
    }
}

/// Returns the fields of the parameters of each request.
fn request_fields() -> BTreeSet<Field> {
    let execution_id = ExecutionId::random();
    let (some_id, offset) = (Some(execution_id), Some(0));
    let on_slow = OnSlow::Wait;
    let execute = ExecuteParams {
        execution_id: some_id,
        body: Body::new("p"),
        on_disconnect: OnDisconnect::Continue,
        on_slow,
    };
    let control = ControlParams {
        control: Control::Pause,
        execution_id: some_id,
    };
    let attach = AttachParams {
        execution_id,
        offset,
        on_slow,
    };
    let list = ListParams {
        limit: Some(1),
        before: some_id,
        workspace: Some("shop".to_owned()),
    };
    let events = EventsParams {
        execution_id,
        offset,
        max_bytes: Some(4),
    };
    let input = InputParams {
        execution_id: some_id,
        offset: 0,
        data: String::new(),
        eof: true,
    };
    let status = StatusParams {
        execution_id: some_id,
    };
    let share = ShareParams {
        execution_id,
        role: ShareRole::View,
        expires_seconds: Some(1),
    };
    let answer = AnswerParams {
        execution_id,
        question_id: uuid::Uuid::nil(),
        decision: Decision::Allow,
        message: Some("m".to_owned()),
        updated_input: Some(serde_json::Map::new()),
        answers: Some(BTreeMap::new()),
        remember: vec!["r".to_owned()],
        interrupt: true,
    };
    let all = [
        parameters(&execute),
        parameters(&control),
        parameters(&attach),
        parameters(&DetachParams { execution_id }),
        parameters(&status),
        parameters(&list),
        parameters(&events),
        parameters(&input),
        parameters(&share),
        parameters(&answer),
        parameters(&PingParams {}),
    ];
    let mut all: BTreeSet<Field> = all.into_iter().flatten().collect();
    // The page has the fields of the body in a table of their own.
    for name in members(&Body::new("p")) {
        all.remove(&[ExecuteParams::NAME.to_owned(), name]);
    }
    // Another name of `prompt`, which is only read.
    let command = serde_json::json!({ "command": "p" });
    if serde_json::from_value::<ExecuteParams>(command).is_ok() {
        all.insert(["execute", "command"].map(str::to_owned));
    }
    all
}

#[test]
fn parameters_of_requests_agree() {
    let page = page::Page::read().names::<2>("Request parameters");
    compare("request parameters", &request_fields(), &page);
}

/// Returns the fields of the parameters of each notification.
fn notification_fields() -> BTreeSet<Field> {
    let execution_id = ExecutionId::random();
    let connected = Connected {
        session_id: String::new(),
        protocol: protocol::PROTOCOL_VERSION,
        version: String::new(),
        capabilities: Capabilities::all(),
        limits: None,
    };
    let update = StatusUpdate {
        word: StatusWord::Resumed,
        elapsed_ms: 0,
        upstream: Some(Upstream::Unreachable),
        status: status(),
    };
    let rejected = RejectedExecute {
        status: StatusWord::State(State::Failed),
        reason: protocol::Reason::Rejected,
        error: error(),
    };
    let output = Output {
        execution_id,
        kind: OutputType::Stdout,
        offset: 0,
        content: "",
    };
    let gap = Gap {
        execution_id,
        from: 0,
        to: 1,
    };
    let notice = Notice {
        execution_id: Some(execution_id),
        code: String::new(),
        message: String::new(),
        data: Value::Null,
    };
    let question = Question {
        question_id: uuid::Uuid::nil(),
        kind: QuestionKind::Permission,
        tool: String::new(),
        display_name: None,
        title: String::new(),
        description: None,
        input: None,
        input_bytes: 0,
        suggestions: Vec::new(),
        agent_id: None,
        asked_at: jiff::Timestamp::UNIX_EPOCH,
        expires_at: None,
    };
    let question = QuestionAsked {
        execution_id,
        question,
    };
    let closed = QuestionClosed {
        execution_id,
        closed: ClosedQuestion {
            question_id: uuid::Uuid::nil(),
            closed_by: ClosedBy::Answer,
            decision: Some(Decision::Allow),
            principal: None,
            closed_at: jiff::Timestamp::UNIX_EPOCH,
        },
    };
    let all = [
        params_of(&connected),
        params_of(&update),
        params_of(&rejected),
        params_of(&output),
        params_of(&gap),
        params_of(&notice),
        params_of(&question),
        params_of(&closed),
    ];
    let mut all: BTreeSet<Field> = all.into_iter().flatten().collect();
    // The page has the fields of the status object in a table of their own.
    for name in members(&status()) {
        all.remove(&["statusUpdate".to_owned(), name]);
    }
    all
}

/// Returns the names of fields in a cell: those in backticks at the start, or after a comma. Text
/// in parentheses explains the field.
fn named_fields(cell: &str) -> Vec<String> {
    let (mut depth, mut outside) = (0_usize, String::new());
    for c in cell.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            c if depth == 0 => outside.push(c),
            _ => {}
        }
    }
    let names = outside.split(',').filter_map(|part| {
        let name = part.trim().strip_prefix('`')?;
        Some(name.split('`').next()?.to_owned())
    });
    names.collect()
}

#[test]
fn parameters_of_notifications_agree() {
    let page = page::Page::read();
    let rows = page.rows("Notifications").iter();
    let named = rows.flat_map(|row| {
        let message = page::name(&row[0]);
        let names = named_fields(&row[1]).into_iter();
        names.map(move |name| [message.clone(), name])
    });
    compare(
        "notification parameters",
        &notification_fields(),
        &named.collect(),
    );
}

/// Returns the names between the braces of a text such as `{a, b}`.
pub(crate) fn braced(text: &str) -> BTreeSet<String> {
    let inner = text
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let names = inner.map_or("", |(inner, _)| inner).split(',');
    let names = names.map(|name| name.trim().to_owned());
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn results_of_requests_agree() {
    let page_of_list = Page {
        executions: Vec::new(),
        next: None,
    };
    let events = Events {
        execution_id: ExecutionId::random(),
        offset: 0,
        text: String::new(),
        next_offset: 0,
        ended: true,
    };
    let share = Share {
        share_id: uuid::Uuid::nil(),
        token: String::new(),
        role: ShareRole::View,
        expires: jiff::Timestamp::UNIX_EPOCH,
    };
    let answered = Answered {
        question_id: uuid::Uuid::nil(),
        decision: Decision::Deny,
        principal: None,
    };
    /// Returns a method's name and the fields of its result.
    fn result<P: Method>(result: &P::Result) -> (String, BTreeSet<String>) {
        (P::NAME.to_owned(), members(result))
    }
    let code = BTreeMap::from([
        result::<ExecuteParams>(&status()),
        result::<ControlParams>(&status()),
        result::<AttachParams>(&status()),
        result::<DetachParams>(&Empty {}),
        result::<StatusParams>(&status()),
        result::<ListParams>(&page_of_list),
        result::<EventsParams>(&events),
        result::<InputParams>(&Accepted { accepted: 0 }),
        result::<ShareParams>(&share),
        result::<AnswerParams>(&answered),
        result::<PingParams>(&Empty {}),
    ]);
    let page = page::Page::read();
    let rows = page.rows("Requests").iter().map(|row| {
        let fields = match row[1].as_str() {
            "the status object" => members(&status()),
            text => braced(text),
        };
        (page::name(&row[0]), fields)
    });
    let rows: BTreeMap<_, _> = rows.collect();
    for (method, fields) in &code {
        let on_page = rows.get(method);
        assert_eq!(on_page, Some(fields), "the result of {method}");
    }
    assert_eq!(
        rows.len(),
        code.len(),
        "requests without a result in this test"
    );
}

#[test]
fn errors_and_capabilities_agree() {
    let text = page::text();
    let between = |start: &str, end: &str| {
        let (_, rest) = text.split_once(start).expect(start);
        rest.split_once(end).expect(end).0.replace('\n', " ")
    };
    assert_eq!(members(&error()), braced(&between("An error is `", "`")));
    let capabilities = between("`capabilities` is `", "`");
    assert_eq!(members(&Capabilities::all()), braced(&capabilities));
}

#[test]
fn fields_are_named_at_the_start_of_a_cell_or_after_a_comma() {
    let cell = "`a` (`b`, or `c`), `d` (see), `e` (only while `f`), and every field of `g`";
    assert_eq!(named_fields(cell), ["a", "d", "e"]);
    assert_eq!(braced("`{a, b}`"), BTreeSet::from(["a".into(), "b".into()]));
}
