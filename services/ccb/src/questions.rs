//! The commands `ccb questions` and `ccb answer`.

use std::fmt::Write;
use std::time::Duration;

use client::{AttachParams, Client, Error, Event};
use jiff::Timestamp;
use protocol::question::{OpenQuestion, QuestionKind};
use protocol::rpc::OnSlow;
use protocol::{Answer, ExecutionId, Question};
use serde::Serialize;
use uuid::Uuid;

use crate::args::{AnswerArgs, Common, DecisionArg, QuestionsArgs};
use crate::exit::{self, Exit};
use crate::question::{self, ChoicePart, Size, parse_choices};
use crate::{complain, show, whole_input};

/// The maximum time to wait for the announcements of an execution's open questions. They follow the
/// reply to an attach at once.
const ANNOUNCEMENTS_TIMEOUT: Duration = Duration::from_secs(10);
/// The number of executions on one page of the list.
const PAGE: u32 = 200;

/// An open question with its execution, as `--json` prints it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct ListedQuestion<Q> {
    execution_id: ExecutionId,
    question: Q,
}

/// Returns the open questions as text for stdout, and the exit code of `ccb`.
pub(crate) async fn list(
    client: &Client,
    args: &QuestionsArgs,
    common: &Common,
) -> Result<(String, Exit), Error> {
    let text = match args.id {
        Some(id) => {
            let mut questions = Vec::new();
            for question in open(client, id).await? {
                questions.push(whole_input::with_input(client, id, question).await);
            }
            match common.json {
                true => json(questions.into_iter().map(|question| listed(id, question))),
                false => details(id, &questions),
            }
        }
        None => {
            let Listed { questions, more } = all(client).await?;
            if common.json && !common.quiet && !more.is_empty() {
                complain(more_lines(&more).trim_end());
            }
            match common.json {
                true => json(questions),
                false => table(&questions, Timestamp::now()) + &more_lines(&more),
            }
        }
    };
    if text.is_empty() && !common.quiet {
        complain("there are no open questions");
    }
    Ok((text, exit::OK))
}

fn listed<Q>(execution_id: ExecutionId, question: Q) -> ListedQuestion<Q> {
    ListedQuestion {
        execution_id,
        question,
    }
}

fn json<Q: Serialize>(questions: impl IntoIterator<Item = ListedQuestion<Q>>) -> String {
    let questions: Vec<_> = questions.into_iter().collect();
    let json = serde_json::to_string(&questions).unwrap_or_default();
    crate::stdout::json_line(&json)
}

/// The open questions of all executions, as their statuses list them.
#[derive(Debug, Default)]
struct Listed {
    /// The oldest 16 open questions of each execution, the newest execution first.
    questions: Vec<ListedQuestion<OpenQuestion>>,
    /// The executions with more open questions, and how many more.
    more: Vec<(ExecutionId, u64)>,
}

impl Listed {
    /// Adds the open questions of one execution.
    fn add(&mut self, id: ExecutionId, open: Vec<OpenQuestion>, count: u64) {
        let more = count.saturating_sub(open.len() as u64);
        if more > 0 {
            self.more.push((id, more));
        }
        self.questions
            .extend(open.into_iter().map(|open| listed(id, open)));
    }
}

/// Returns the open questions of all executions.
async fn all(client: &Client) -> Result<Listed, Error> {
    let mut all = Listed::default();
    let mut before = None;
    loop {
        let page = client.list(PAGE, before).await?;
        for status in page.executions {
            all.add(status.execution_id, status.questions, status.questions_open);
        }
        before = page.next;
        if before.is_none() {
            return Ok(all);
        }
    }
}

/// Returns the open questions of one execution, with their inputs. They are announced when a view
/// begins, so it attaches behind the output.
async fn open(client: &Client, id: ExecutionId) -> Result<Vec<Question>, Error> {
    let status = client.status(id).await?;
    let expected = usize::try_from(status.questions_open).unwrap_or(usize::MAX);
    let mut questions = Vec::new();
    if expected == 0 {
        return Ok(questions);
    }
    let mut run = client.attach(AttachParams {
        execution_id: id,
        offset: Some(status.output_bytes),
        on_slow: OnSlow::Skip,
    });
    let announced = async {
        while questions.len() < expected {
            match run.next().await? {
                Some(Event::Question(question)) => questions.push(*question),
                Some(Event::QuestionClosed { question_id, .. }) => {
                    questions.retain(|open: &Question| open.question_id != question_id);
                }
                Some(Event::Terminal { .. }) | None => break,
                Some(_) => {}
            }
        }
        Ok::<_, Error>(())
    };
    // A question that was closed meanwhile is not announced.
    match tokio::time::timeout(ANNOUNCEMENTS_TIMEOUT, announced).await {
        Ok(result) => result?,
        Err(_) => complain(&format!(
            "not every open question arrived within {} s; run the command again to see what is \
             still open",
            ANNOUNCEMENTS_TIMEOUT.as_secs()
        )),
    }
    Ok(questions)
}

/// Returns one line for each question.
fn table(questions: &[ListedQuestion<OpenQuestion>], now: Timestamp) -> String {
    let mut text = String::new();
    for ListedQuestion {
        execution_id,
        question,
    } in questions
    {
        let line = format!(
            "{execution_id}  {}  {:>10}  {}",
            question.question_id,
            show::ago(question.asked_at, now),
            question::one_line(&question.tool, &question.title)
        );
        let _ = writeln!(text, "{line}");
    }
    match text.is_empty() {
        true => text,
        false => format!(
            "{:<36}  {:<36}  {:>10}  QUESTION\n{text}",
            "EXECUTION", "ID", "ASKED"
        ),
    }
}

/// Returns a line for each execution with open questions that the table does not have.
fn more_lines(more: &[(ExecutionId, u64)]) -> String {
    let lines = more.iter();
    lines
        .map(|(id, count)| format!("{count} more are open in {id}; see: ccb questions {id}\n"))
        .collect()
}

/// Returns the questions of an execution with their whole inputs.
fn details(id: ExecutionId, questions: &[Question]) -> String {
    let texts = questions.iter();
    let texts: Vec<_> = texts
        .map(|question| question::details(id, question, Size::default()))
        .collect();
    texts.join("\n")
}

/// Sends an answer, and returns the text for stdout and the exit code of `ccb`.
pub(crate) async fn answer(
    client: &Client,
    args: AnswerArgs,
    common: &Common,
) -> Result<(String, Exit), Error> {
    let (execution, id) = (args.id, args.question);
    let parts = match args.choice.is_empty() {
        true => Vec::new(),
        false => known_parts(client, execution, id).await?,
    };
    let answer = match answer_of(args, &parts) {
        Ok(answer) => answer,
        Err(mistake) => {
            complain(&mistake);
            return Ok((String::new(), exit::USAGE));
        }
    };
    let answered = client.answer(execution, id, answer).await?;
    if common.json {
        let json = serde_json::to_string(&answered).unwrap_or_default();
        return Ok((crate::stdout::json_line(&json), exit::OK));
    }
    Ok((format!("{} {id}\n", answered.decision.as_str()), exit::OK))
}

/// Returns the parts of a choice. Empty if the question is no choice, or is not open any more.
async fn known_parts(
    client: &Client,
    execution: ExecutionId,
    id: Uuid,
) -> Result<Vec<ChoicePart>, Error> {
    let questions = open(client, execution).await?;
    let question = questions.into_iter().find(|open| open.question_id == id);
    let question = match question {
        Some(question) => Some(whole_input::with_input(client, execution, question).await),
        None => None,
    };
    let choice = question.filter(|question| question.kind == QuestionKind::Choice);
    Ok(choice.map_or_else(Vec::new, |question| ChoicePart::all(&question)))
}

/// Creates the answer from the arguments.
///
/// # Errors
/// The arguments do not fit together. The text is the message for the user.
fn answer_of(args: AnswerArgs, parts: &[ChoicePart]) -> Result<Answer, String> {
    let AnswerArgs {
        id: _,
        question: _,
        decision,
        message,
        input,
        choice,
        remember,
        interrupt,
    } = args;
    let misplaced = match decision {
        DecisionArg::Allow => {
            [("--message", message.is_some()), ("--interrupt", interrupt)].to_vec()
        }
        DecisionArg::Deny => [
            ("--input", input.is_some()),
            ("--choice", !choice.is_empty()),
            ("--remember", !remember.is_empty()),
        ]
        .to_vec(),
    };
    if let Some((option, _)) = misplaced.into_iter().find(|(_, given)| *given) {
        let other = match decision {
            DecisionArg::Allow => "deny",
            DecisionArg::Deny => "allow",
        };
        return Err(format!(
            "{option} is only for {other}; leave it out, or decide {other}"
        ));
    }
    let answers = match choice.is_empty() {
        true => None,
        false => Some(parse_choices(&choice, parts)?),
    };
    Ok(Answer {
        decision: decision.into(),
        message,
        updated_input: input,
        answers,
        remember,
        interrupt,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::args::{Cli, Command};

    fn parse(options: &[&str]) -> Result<Answer, String> {
        let id = ExecutionId::random().to_string();
        let question = Uuid::nil().to_string();
        let mut line = vec!["ccb", "answer", &id, &question];
        line.extend(options);
        let cli = Cli::try_parse_from(line).map_err(|error| error.to_string())?;
        let Command::Answer(args) = cli.command else {
            panic!()
        };
        answer_of(*args, &[])
    }

    #[test]
    fn the_arguments_of_an_answer_become_its_fields() {
        assert_eq!(parse(&["allow"]), Ok(Answer::allow()));
        let denied = parse(&["deny", "--message", "no", "--interrupt"]).unwrap();
        let expected = json!({"decision": "deny", "message": "no", "interrupt": true});
        assert_eq!(serde_json::to_value(denied).unwrap(), expected);
        let input = ["--input", r#"{"command": "ls"}"#];
        let rules = ["--remember", "Bash(ls)", "--remember", "Read"];
        let allowed = parse(&[&["allow"][..], &input, &rules].concat()).unwrap();
        let expected = json!({
            "decision": "allow", "updatedInput": {"command": "ls"},
            "remember": ["Bash(ls)", "Read"],
        });
        assert_eq!(serde_json::to_value(allowed).unwrap(), expected);
        let chosen = parse(&["allow", "--choice", "Why?=x"]).unwrap();
        assert_eq!(chosen.answers.unwrap()["Why?"], "x");
    }

    #[test]
    fn options_of_the_other_decision_are_refused() {
        for options in [
            &["allow", "--message", "x"][..],
            &["allow", "--interrupt"],
            &["deny", "--input", "{}"],
            &["deny", "--choice", "a=b"],
            &["deny", "--remember", "x"],
            &["allow", "--input", "[]"],
            &["allow", "--choice", "x"],
            &["maybe"],
        ] {
            assert!(parse(options).is_err(), "{options:?}");
        }
    }

    #[test]
    fn the_table_has_one_line_for_each_question() {
        let open = OpenQuestion {
            question_id: Uuid::from_u128(7),
            kind: QuestionKind::Permission,
            tool: "Bash".into(),
            title: "rm\nccb: x\x1b".into(),
            asked_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        };
        let id = ExecutionId::random();
        let mut all = Listed::default();
        all.add(id, vec![open], 1);
        assert_eq!(more_lines(&all.more), "");
        let text = table(&all.questions, Timestamp::UNIX_EPOCH);
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(
            text.contains("0 s ago  Bash: rm\\nccb: x\\u001b\n"),
            "{text}"
        );
        assert_eq!(table(&[], Timestamp::UNIX_EPOCH), "");
    }

    #[test]
    fn open_questions_beyond_the_listed_ones_are_counted_by_execution() {
        let (first, second) = (ExecutionId::random(), ExecutionId::random());
        let mut all = Listed::default();
        all.add(first, Vec::new(), 3);
        all.add(ExecutionId::random(), Vec::new(), 0);
        all.add(second, Vec::new(), 1);
        let expected = format!(
            "3 more are open in {first}; see: ccb questions {first}\n\
             1 more are open in {second}; see: ccb questions {second}\n"
        );
        assert_eq!(more_lines(&all.more), expected);
    }
}
