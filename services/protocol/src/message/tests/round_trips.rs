//! Property tests: any written message is read as the same message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::super::*;
use crate::rpc::{OnDisconnect, OnSlow, RpcError};
use crate::status::ErrorInfo;
use crate::webhook::{WebhookEvent, WebhookStatus};
use crate::{
    Answer, Body, Events, ExecutionId, Format, InputMode, Limits, OnInterrupt, OnUsageLimit, Page,
    PermissionPrompts, PromptMode, Reason, State, Status, Thinking, Warning, Webhook,
};

fn text() -> impl Strategy<Value = String> {
    "[a\"\\\\{}:,\u{0}-\u{1f}\u{7f}-\u{a1}\u{2028}\u{1f600}]{0,8}"
}

/// A number that JSON holds exactly: without its feature `float_roundtrip`, `serde_json` may read
/// another last bit.
fn number() -> impl Strategy<Value = f64> {
    any::<u32>().prop_map(|quarters| f64::from(quarters) / 4.0)
}

fn id() -> impl Strategy<Value = ExecutionId> {
    any::<u128>().prop_map(|bits| Uuid::from_u128(bits).into())
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_i64).prop_map(|ms| Timestamp::from_millisecond(ms).unwrap())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Value::from),
            btree_map(text(), inner, 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn request_id() -> impl Strategy<Value = RequestId> {
    prop_oneof![
        Just(RequestId::null()),
        any::<u64>().prop_map(RequestId::from),
        text().prop_map(|text| RequestId::from(text.as_str())),
    ]
}

fn on_slow() -> impl Strategy<Value = OnSlow> {
    prop_oneof![Just(OnSlow::Wait), Just(OnSlow::Skip)]
}

fn body() -> impl Strategy<Value = Body> {
    let texts = (text(), of(text()), of(vec(text(), 0..3)), of(number()));
    let kinds = (any::<[bool; 5]>(), btree_map(text(), text(), 0..3));
    (texts, kinds).prop_map(|((prompt, name, tools, number), (kinds, strings))| {
        let [commands, events, continues, waits, streams] = kinds;
        Body {
            prompt,
            prompt_mode: [PromptMode::Verbatim, PromptMode::Commands][usize::from(commands)],
            format: [Format::Text, Format::Events][usize::from(events)],
            lane: name.clone(),
            traceparent: name.clone(),
            tracestate: name.clone(),
            model: name.clone(),
            system_prompt: name.clone(),
            append_system_prompt: name.clone(),
            allowed_tools: tools.clone(),
            disallowed_tools: tools.clone(),
            permission_mode: name.clone(),
            permission_prompts: [PermissionPrompts::Deny, PermissionPrompts::Ask]
                [usize::from(waits)],
            question_timeout_seconds: number,
            max_turns: number.map(|n| n as u32),
            max_budget_usd: number,
            conversation: continues.then(ExecutionId::random),
            continues: continues.then(ExecutionId::random),
            on_interrupt: [OnInterrupt::None, OnInterrupt::Continue][usize::from(continues)],
            on_usage_limit: [OnUsageLimit::None, OnUsageLimit::Wait][usize::from(waits)],
            workspace: "default".to_owned(),
            env: strings.clone(),
            idle_timeout_seconds: number,
            deadline_seconds: number,
            input: [InputMode::None, InputMode::Stream][usize::from(streams)],
            metadata: strings.clone(),
            webhook: waits.then(|| Webhook::new("https://hooks.example/a")),
            fallback_model: name.clone(),
            effort: name.clone(),
            betas: tools.clone(),
            thinking: waits.then_some(Thinking::Adaptive),
            thinking_display: name.clone(),
            max_thinking_tokens: number.map(|n| n as u32),
            task_budget: number.map(|n| n as u64),
            json_schema: events.then(|| object(&strings)),
            tools,
            include_partial_messages: streams,
            include_hook_events: events,
            replay_user_messages: commands,
            session_mirror: waits,
            fork_conversation: continues,
            resume_at: name.clone(),
            resume_drops_turn: name,
            agents: waits.then(|| object(&strings)),
            settings: streams.then(|| object(&strings)),
            mcp_servers: commands.then(|| object(&strings)),
            sdk_env: strings,
            input_idle_seconds: number,
        }
    })
}

fn object(strings: &BTreeMap<String, String>) -> Map<String, Value> {
    let member = |(name, value): (&String, &String)| (name.clone(), Value::from(value.as_str()));
    strings.iter().map(member).collect()
}

fn execute() -> impl Strategy<Value = ExecuteParams> {
    (of(id()), body(), any::<bool>(), on_slow()).prop_map(
        |(execution_id, body, cancel, on_slow)| ExecuteParams {
            execution_id,
            body,
            on_disconnect: [OnDisconnect::Continue, OnDisconnect::Cancel][usize::from(cancel)],
            on_slow,
        },
    )
}

fn request() -> impl Strategy<Value = Request> {
    let control = prop::sample::select(&Control::ALL[..]);
    let input = (of(id()), any::<u64>(), text(), any::<bool>());
    prop_oneof![
        execute().prop_map(Request::from),
        (control, of(id())).prop_map(|(control, execution_id)| ControlParams {
            control,
            execution_id
        }
        .into()),
        (id(), of(any::<u64>()), on_slow()).prop_map(|(execution_id, offset, on_slow)| {
            AttachParams {
                execution_id,
                offset,
                on_slow,
            }
            .into()
        }),
        id().prop_map(|execution_id| DetachParams { execution_id }.into()),
        of(id()).prop_map(|execution_id| StatusParams { execution_id }.into()),
        (of(any::<u64>()), of(id()), of(text())).prop_map(|(limit, before, workspace)| {
            ListParams {
                limit,
                before,
                workspace,
            }
            .into()
        }),
        (id(), of(any::<u64>()), of(any::<usize>())).prop_map(
            |(execution_id, offset, max_bytes)| EventsParams {
                execution_id,
                offset,
                max_bytes
            }
            .into()
        ),
        input.prop_map(|(execution_id, offset, data, eof)| InputParams {
            execution_id,
            offset,
            data,
            eof
        }
        .into()),
        answer().prop_map(Request::from),
        Just(PingParams {}.into()),
    ]
}

fn answer() -> impl Strategy<Value = AnswerParams> {
    let texts = (of(text()), of(btree_map(text(), text(), 0..3)));
    (id(), id(), texts, vec(text(), 0..3), any::<bool>()).prop_map(
        |(execution_id, question, (message, answers), remember, interrupt)| {
            let answer = Answer {
                message,
                answers,
                remember,
                interrupt,
                ..Answer::deny()
            };
            AnswerParams::new(execution_id, question.uuid(), answer)
        },
    )
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    (of(request_id()), request()).prop_map(|(id, request)| ClientMessage { id, request })
}

fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        client_message().prop_map(ClientFrame::Single),
        vec(client_message(), 1..4).prop_map(ClientFrame::Batch),
    ]
}

fn webhook(host: &str, count: u64) -> WebhookStatus {
    WebhookStatus {
        host: host.to_owned(),
        events: WebhookEvent::ALL.to_vec(),
        pending: count,
        delivered: count,
        failed: count,
        last: None,
    }
}

fn status() -> impl Strategy<Value = Status> {
    let ids = (id(), of(id()), of(id()));
    let times = (time(), of(time()));
    let numbers = (
        any::<u64>(),
        of(any::<u64>()),
        of(any::<i32>()),
        of(number()),
    );
    let texts = (text(), of(text()), btree_map(text(), text(), 0..3));
    let values = (
        of(value().prop_filter("null is none", |v| !v.is_null())),
        vec(value(), 0..3),
    );
    let states = (
        prop::sample::select(&State::ALL[..]),
        of(prop::sample::select(Reason::ALL)),
        any::<bool>(),
    );
    let parts = (ids, times, numbers, texts, values, states);
    parts.prop_map(|(ids, times, numbers, texts, values, states)| {
        let (text, name, metadata) = texts;
        let (usage, values) = values;
        let (state, reason, stalled) = states;
        Status {
            execution_id: ids.0,
            state,
            reason,
            error: name.clone().map(|message| ErrorInfo {
                code: text.clone(),
                message,
            }),
            exit_code: numbers.2,
            output_bytes: numbers.0,
            kept_from: numbers.0,
            crc32: name.clone(),
            sha256: name.clone(),
            created_at: times.0,
            started_at: times.1,
            ended_at: times.1,
            duration_ms: numbers.1,
            queue_position: numbers.1,
            activity: name.clone(),
            stalled,
            principal: name.clone(),
            workspace: text.clone(),
            lane: name.clone(),
            conversation: name.clone(),
            continues: ids.1,
            continued_by: ids.2,
            not_before: times.1,
            webhook: name.as_ref().map(|host| webhook(host, numbers.0)),
            model: name,
            structured_output: values.iter().find(|value| !value.is_null()).cloned(),
            usage,
            cost_usd: numbers.3,
            warnings: values
                .iter()
                .map(|data| Warning {
                    seq: numbers.0,
                    at: times.0,
                    code: text.clone(),
                    message: text.clone(),
                    data: data.clone(),
                })
                .collect(),
            permission_denials: values,
            questions: Vec::new(),
            questions_open: numbers.0,
            restarts: numbers.0,
            noise_lines: numbers.0,
            stderr_tail: text,
            metadata,
        }
    })
}

fn error() -> impl Strategy<Value = RpcError> {
    (any::<i64>(), text(), value()).prop_map(|(code, message, data)| RpcError {
        code,
        message,
        data,
    })
}

fn reply() -> impl Strategy<Value = Reply> {
    let events = (id(), any::<u64>(), text(), any::<bool>());
    let result = prop_oneof![
        status().prop_map(|status| JsonText::of(&status)),
        Just(()).prop_map(|()| JsonText::of(&Empty {})),
        any::<u64>().prop_map(|accepted| JsonText::of(&Accepted { accepted })),
        (vec(status(), 0..2), of(id()))
            .prop_map(|(executions, next)| JsonText::of(&Page { executions, next })),
        events.prop_map(|(execution_id, offset, text, ended)| JsonText::of(&Events {
            execution_id,
            offset,
            text,
            next_offset: offset,
            ended,
        })),
    ];
    prop_oneof![
        (request_id(), result).prop_map(|(id, result)| Reply::result(id, result.unwrap())),
        (request_id(), error()).prop_map(|(id, error)| Reply::error(id, error)),
    ]
}

fn connected() -> impl Strategy<Value = Connected> {
    let lists = (vec(text(), 0..3), any::<bool>());
    let limits = of((any::<u64>(), any::<u64>(), any::<bool>()));
    (text(), any::<u32>(), lists, limits).prop_map(|(text, protocol, lists, limits)| Connected {
        session_id: text.clone(),
        protocol,
        version: text,
        capabilities: Capabilities {
            methods: lists.0.clone(),
            control: lists.0.clone(),
            formats: lists.0.clone(),
            on_slow: lists.0.clone(),
            on_disconnect: lists.0,
            batch: lists.1,
            input: lists.1,
        },
        limits: limits.map(|(queued, views, boxed)| ConnectedLimits {
            limits: Limits {
                queued,
                boxed,
                ..Limits::default()
            },
            views,
        }),
    })
}

fn status_update() -> impl Strategy<Value = StatusUpdate> {
    let word = prop_oneof![
        prop::sample::select(&State::ALL[..]).prop_map(StatusWord::State),
        Just(StatusWord::Resumed),
    ];
    let upstream = of(Just(Upstream::Unreachable));
    (word, any::<u64>(), upstream, status()).prop_map(|(word, elapsed_ms, upstream, status)| {
        StatusUpdate {
            word,
            elapsed_ms,
            upstream,
            status,
        }
    })
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let notice = (of(id()), text(), text(), value());
    prop_oneof![
        connected().prop_map(|params| ServerMessage::Connected(params.into())),
        status_update().prop_map(|params| ServerMessage::StatusUpdate(params.into())),
        error()
            .prop_map(|error| ServerMessage::RejectedExecute(RejectedExecute::new(error).into())),
        (id(), any::<u64>(), text())
            .prop_map(|(id, offset, text)| ServerMessage::Output(Output::new(id, offset, text))),
        (id(), any::<u64>(), any::<u64>()).prop_map(|(execution_id, from, to)| {
            ServerMessage::Gap(Gap {
                execution_id,
                from,
                to,
            })
        }),
        notice.prop_map(|(execution_id, code, message, data)| {
            ServerMessage::Notice(Box::new(Notice {
                execution_id,
                code,
                message,
                data,
            }))
        }),
        reply().prop_map(ServerMessage::Reply),
        vec(reply(), 1..4).prop_map(ServerMessage::Batch),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_client_frame_is_read_as_it_was_written(frame in client_frame()) {
        let json = serde_json::to_string(&frame).unwrap();
        let read: ClientFrame = crate::json::from_slice(json.as_bytes()).unwrap();
        prop_assert_eq!(&read, &frame, "{}", json);
        let value = serde_json::to_value(&frame).unwrap();
        prop_assert_eq!(serde_json::from_value::<ClientFrame>(value).unwrap(), frame);
    }

    #[test]
    fn a_bridge_message_is_read_as_it_was_written(message in server_message()) {
        let json = message.to_json();
        prop_assert_eq!(&ServerMessage::from_json(&json).unwrap(), &message, "{}", json);
        prop_assert_eq!(&serde_json::to_string(&message).unwrap(), &json);
        prop_assert!(crate::json::refuse_repeated_members(&json).is_ok(), "{}", json);
    }

    /// The status object is copied into the message as JSON.
    #[test]
    fn a_status_update_within_a_limit_is_read_as_it_was_written(update in status_update()) {
        let json = update.to_message_within(64 * 1024);
        let expected = ServerMessage::StatusUpdate(Box::new(update));
        prop_assert_eq!(ServerMessage::from_json(&json).unwrap(), expected);
    }

    /// The handwritten encoder of outputs writes the derived form.
    #[test]
    fn an_output_is_written_as_its_serde_form(id in id(), offset in any::<u64>(), text in text()) {
        let output = Output::new(id, offset, text);
        let params = serde_json::to_string(&output).unwrap();
        let expected = format!(r#"{{"jsonrpc":"2.0","method":"output","params":{params}}}"#);
        prop_assert_eq!(Output::new(id, offset, output.content.as_str()).to_message(), expected);
    }

    #[test]
    fn no_text_panics(text in "[a\"\\\\{}:,\\[\\]0-9 ]{0,40}") {
        let _ = ServerMessage::from_json(&text);
        let _ = serde_json::from_str::<ClientFrame>(&text);
        let _ = RequestId::from_json(&text);
    }
}
