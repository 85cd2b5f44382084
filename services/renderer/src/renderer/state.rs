//! Processes each kind of event line of the CLI: which text and which facts it adds.

use memchr::memmem;
use serde::Deserialize;

use crate::activity::CurrentActivity;
use crate::answer::Answer;
use crate::denials;
use crate::event::{self, Block, Head, StreamEvent, Turn, is, short, text, word};
use crate::facts::{Activity, Fact, Outcome, Rendered, SessionState};
use crate::outcome::{self, ResultEvent, count, seconds};
use crate::tools::Tools;
use crate::wtf8::{Literal, Raw};

/// The most characters that are kept of the name and output of a failed hook of the CLI. They are
/// shown in the status of the execution.
const LONGEST_HOOK_MESSAGE: usize = 1000;

/// What the renderer remembers between event lines: the answer, the running tools, and facts that
/// the result needs.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whether text is rendered. False for output format `events`, which needs only facts.
    pub(super) want_text: bool,
    pub(super) answer: Answer,
    activity: CurrentActivity,
    tools: Tools,
    /// The number of lines that were not JSON since the last report.
    pub(super) noise_lines: u64,
    /// Whether an event was lost since the last result, so that the shown answer may lack text.
    incomplete: bool,
    /// The model that the CLI named when it last started; `None` if it named none.
    model: Option<String>,
    /// The error message that the CLI itself wrote, if no message of the model followed. The result
    /// gets its error kind from it.
    error: Option<SyntheticError>,
    /// The highest index of a `result` event so far. A result with a lower index is dropped.
    highest_result: u64,
    /// The text of the last result, shown at the end if no other text was shown. `None` if the
    /// result was an error or text was shown.
    pub(super) fallback_text: Option<String>,
}

/// An error message that the CLI itself wrote in place of the model's answer, such as for a usage
/// limit.
#[derive(Debug, Default)]
struct SyntheticError {
    /// The kind of the error, such as `rate_limit`; `None` if the CLI named none.
    kind: Option<String>,
    /// When the usage limit is reset, in Unix seconds; `None` if no limit was the cause.
    resets_at: Option<i64>,
}

/// The error for a line that is not an event of the expected form. It may still be JSON.
pub(super) struct Unreadable;

impl State {
    pub(super) fn new(want_text: bool) -> Self {
        Self {
            want_text,
            ..Self::default()
        }
    }

    /// Records that an event was lost. Reports it as a fact, and has the text of the result
    /// compared with the shown answer later.
    pub(super) fn lost(&mut self, out: &mut Rendered) {
        self.incomplete = true;
        out.facts.push(Fact::EventLost);
    }

    /// Processes one event line. Events of unknown kinds are ignored.
    ///
    /// # Errors
    /// Returns an error if the line is not a JSON object of the form that its `type` requires. The
    /// line has then had no effect.
    pub(super) fn event(&mut self, line: &[u8], out: &mut Rendered) -> Result<(), Unreadable> {
        let head: Head<'_> = read(line)?;
        let kind = head.kind.as_ref().map_or(&b""[..], Raw::bytes);
        let parent = head.parent_tool_use_id.as_ref();
        match kind {
            b"stream_event" if parent.is_none() => self.stream_event(&head, out),
            b"assistant" => self.assistant(&read(line)?, parent, line, out),
            // A line whose `content` is a string is unreadable, and has no tool result.
            b"user" if memmem::find(line, b"\"tool_result\"").is_some() => {
                self.user(read(line).ok(), out)
            }
            b"system" => self.system(head.subtype.as_ref(), line, out)?,
            b"rate_limit_event" => {
                let info = read::<event::RateLimitEvent<'_>>(line)?.rate_limit_info;
                let resets_at = info.resets_at.map(seconds);
                out.facts.push(Fact::RateLimit {
                    resets_at,
                    status: word(info.status.as_ref()),
                });
            }
            b"result" => self.result(&read(line)?, out),
            b"control_request" => {
                let id: event::ControlId<'_> = read(line)?;
                let request = read::<event::ControlRequest>(line).ok();
                out.facts.push(Fact::ControlRequested {
                    request_id: id.request_id.text(),
                    request: request.map(|line| line.request),
                });
            }
            b"control_cancel_request" => {
                let id: event::ControlId<'_> = read(line)?;
                let request_id = id.request_id.text();
                out.facts.push(Fact::ControlWithdrawn { request_id });
            }
            _ => {}
        }
        Ok(())
    }

    /// Processes an event of the model's streaming API: a piece of text, or the start or end of a
    /// block or a message. Events without an effect are ignored.
    fn stream_event(&mut self, head: &Head<'_>, out: &mut Rendered) {
        let Some(event) = &head.event else { return };
        let Rendered { text: shown, facts } = out;
        let StreamEvent {
            kind,
            index,
            delta,
            content_block,
            message,
        } = event;
        let restart = match kind.as_ref().map_or(&b""[..], Raw::bytes) {
            b"content_block_delta" => match delta {
                Some(delta) if self.want_text && is(delta.kind.as_ref(), "text_delta") => {
                    let text = delta.text.as_ref().map_or(&b""[..], Raw::bytes);
                    self.answer.text_delta(*index, text, shown)
                }
                _ => false,
            },
            b"content_block_start" => match content_block {
                Some(block) => {
                    self.report_block(block, facts);
                    let text = block_text(block, self.want_text).unwrap_or_default();
                    self.answer
                        .block_start(*index, block.is("text"), text, shown)
                }
                None => false,
            },
            b"message_start" => {
                self.error = None;
                self.tools.end_main_tools();
                self.report_tools(facts);
                self.activity.set(Activity::Thinking, facts);
                let id = message
                    .as_ref()
                    .and_then(|message| word(message.id.as_ref()));
                self.answer.message_start(id, shown)
            }
            b"message_delta" => {
                self.answer.message_delta(shown);
                false
            }
            b"message_stop" => {
                let abandoned = head
                    .abandoned_blocks
                    .as_ref()
                    .map(|blocks| blocks.from_block_index);
                self.answer.message_stop(abandoned, shown);
                false
            }
            _ => false,
        };
        if restart {
            facts.push(Fact::Restart);
        }
    }

    /// Processes an `assistant` line, which has a whole message: its tool calls, its text, or an
    /// error message that the CLI itself wrote. A line with a `parent` is of a sub-agent, and only
    /// its tool calls count.
    fn assistant(
        &mut self,
        turn: &Turn<'_>,
        parent: Option<&Raw<'_>>,
        line: &[u8],
        out: &mut Rendered,
    ) {
        let Rendered { text: shown, facts } = out;
        let message = &turn.message;
        self.tools
            .started(&message.content, word(parent).as_ref(), line);
        self.report_tools(facts);
        if parent.is_some() {
            return;
        }
        let marked = [&turn.error, &turn.is_api_error_message]
            .into_iter()
            .flatten()
            .any(|marker| marker.set);
        if marked {
            let word = turn
                .error
                .as_ref()
                .and_then(|marker| marker.word.as_deref())
                .map(short);
            let info = turn
                .api_error_params
                .as_ref()
                .and_then(|params| params.rate_limit_info.as_ref());
            self.error = Some(SyntheticError {
                kind: word,
                resets_at: info.and_then(|info| info.resets_at).map(seconds),
            });
        }
        if marked || is(message.model.as_ref(), "<synthetic>") {
            return;
        }
        self.error = None;
        let want_text = self.want_text;
        let blocks = message
            .content
            .iter()
            .map(|block| block_text(block, want_text));
        if self
            .answer
            .assistant(word(message.id.as_ref()), blocks, shown)
        {
            facts.push(Fact::Restart);
        }
        for block in message.content.iter().filter(|block| block.is("tool_use")) {
            self.report_block(block, facts);
        }
    }

    /// Processes a `user` line. The tool results in it end the tools that run. `None`, for an
    /// unreadable line, is ignored.
    fn user(&mut self, turn: Option<Turn<'_>>, out: &mut Rendered) {
        if let Some(turn) = turn {
            self.tools.ended(&turn.message.content);
            self.report_tools(&mut out.facts);
        }
    }

    /// Processes a `system` line by its `subtype`: the start of the CLI, a retry, a denied tool or
    /// a failed hook. Other subtypes are ignored.
    ///
    /// # Errors
    /// Returns an error if the line lacks the form that its subtype requires.
    fn system(
        &mut self,
        subtype: Option<&Raw<'_>>,
        line: &[u8],
        out: &mut Rendered,
    ) -> Result<(), Unreadable> {
        let facts = &mut out.facts;
        match subtype.map_or(&b""[..], Raw::bytes) {
            b"init" => {
                let init: event::Init<'_> = read(line)?;
                self.model = word(init.model.as_ref());
                facts.push(Fact::Init {
                    session_id: word(init.session_id.as_ref()),
                    model: self.model.clone(),
                });
                self.activity.set(Activity::Starting, facts);
            }
            b"status"
                if is(
                    read::<event::Status<'_>>(line)?.status.as_ref(),
                    "requesting",
                ) =>
            {
                self.activity.set(Activity::Thinking, facts);
            }
            b"api_retry" => {
                let retry: event::Retry = read(line)?;
                let number = |number: Option<f64>| number.map(count).unwrap_or_default();
                let status = outcome::status(retry.error_status);
                let (attempt, max_retries) = (number(retry.attempt), number(retry.max_retries));
                facts.push(Fact::Retry {
                    attempt,
                    max_retries,
                    delay_ms: number(retry.retry_delay_ms),
                    status,
                });
                self.activity.set(Activity::Retrying(status), facts);
            }
            b"session_state_changed" => {
                let state = read::<event::SessionStateChanged<'_>>(line)?.state;
                let state = match state.as_ref().map_or(&b""[..], Raw::bytes) {
                    b"idle" => SessionState::Idle,
                    b"running" => SessionState::Running,
                    b"requires_action" => SessionState::RequiresAction,
                    _ => return Ok(()),
                };
                out.facts.push(Fact::SessionState(state));
            }
            b"permission_denied" => {
                facts.push(Fact::ToolDenied {
                    denial: denials::from_event(&read(line)?),
                });
            }
            b"hook_response" => {
                let hook: event::Hook<'_> = read(line)?;
                if is(hook.outcome.as_ref(), "error") {
                    let name = text(hook.hook_name.as_ref()).unwrap_or_default();
                    let output = text(hook.output.as_ref()).unwrap_or_default();
                    let message = format!("{name}: {}", output.trim());
                    facts.push(Fact::HookFailed {
                        message: message.chars().take(LONGEST_HOOK_MESSAGE).collect(),
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Processes a `result` line, which ends a run. A result with a lower index than an earlier one
    /// is dropped.
    fn result(&mut self, event: &ResultEvent<'_>, out: &mut Rendered) {
        let (outcome, text) = outcome::read(event);
        let index = outcome.result_index.unwrap_or(self.highest_result);
        let is_last = index >= self.highest_result;
        let text = text.filter(|_| self.want_text && is_last && !outcome.is_error);
        let incomplete = std::mem::take(&mut self.incomplete);
        let missing = text.filter(|_| incomplete).map(Literal::text);
        self.answer.result(missing.as_deref(), &mut out.text);
        self.activity.clear();
        self.tools.end_main_tools();
        self.report_tools(&mut out.facts);
        if !is_last {
            return;
        }
        self.highest_result = index;
        let text = text.filter(|_| !self.answer.has_shown());
        self.fallback_text = text.map(|text| text.text().into_owned());
        let SyntheticError {
            kind: error_kind,
            resets_at,
        } = self.error.take().unwrap_or_default();
        let outcome = Outcome {
            model: self.model.clone(),
            error_kind,
            resets_at,
            ..outcome
        };
        out.facts.push(Fact::Result(Box::new(outcome)));
    }

    /// Reports the running tools as a fact if they have changed.
    fn report_tools(&mut self, facts: &mut Vec<Fact>) {
        facts.extend(self.tools.take_changes().map(Fact::ToolsRunning));
    }

    /// Reports the activity that the start of a content block shows, such as writing or a tool.
    fn report_block(&mut self, block: &Block<'_>, facts: &mut Vec<Fact>) {
        let kind = block.kind.as_ref().map_or(&b""[..], Raw::bytes);
        self.activity.block(
            kind,
            || word(block.name.as_ref()).unwrap_or_default(),
            facts,
        );
    }
}

/// Returns the text of a content block, or an empty text if text is not wanted. Returns `None` if
/// the block is not a text block.
fn block_text<'a>(block: &Block<'a>, want_text: bool) -> Option<Literal<'a>> {
    let text = block.text.filter(|_| want_text).unwrap_or_default();
    block.is("text").then_some(text)
}

/// Parses a line as the struct `T`.
///
/// # Errors
/// Returns an error if the line is not JSON of that form.
fn read<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Unreadable> {
    serde_json::from_slice(line).map_err(|_| Unreadable)
}
