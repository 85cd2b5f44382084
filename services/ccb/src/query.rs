//! The commands that print one answer of the bridge: `list`, `status`, `pause`, `resume`, `cancel`,
//! `questions`, `answer` and `share`.

use std::io::{self, Write};

use client::{Client, Control, Error};
use protocol::Status;
use protocol::message::ShareParams;

use crate::args::{Command, Common, ShareArgs};
use crate::exit::{self, Exit};
use crate::{complain, exec, questions, show};

pub(crate) async fn run(command: Command, common: &Common) -> Exit {
    match answer(command, common).await {
        Ok((text, exit)) => match write(text.as_bytes()) {
            Ok(()) => exit,
            // The reader closed the pipe early, as `head` does.
            Err(e) if e.kind() == io::ErrorKind::BrokenPipe => exit,
            Err(e) => {
                complain(&format!("could not write stdout: {e}"));
                exit::INTERNAL
            }
        },
        Err(error) => {
            complain(&exec::explain(&error));
            exit::of_error(&error)
        }
    }
}

fn write(bytes: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout();
    stdout.write_all(bytes)?;
    // The flush reports the errors of the buffered write.
    stdout.flush()
}

/// Sends the request of a command to the bridge, and returns the text for stdout and the exit code
/// of `ccb`.
async fn answer(command: Command, common: &Common) -> Result<(String, Exit), Error> {
    let client = Client::connect(common.url.as_str(), exec::options(common)).await?;
    let answer = match command {
        Command::List { limit, before } => {
            let page = client.list(limit, before).await?;
            if common.json {
                Ok((line(&page), exit::OK))
            } else {
                if let (Some(next), false) = (page.next, common.quiet) {
                    complain(&format!("more: ccb list --before {next}"));
                }
                Ok((show::table(&page, jiff::Timestamp::now()), exit::OK))
            }
        }
        Command::Status { id: Some(id) } => Ok(status(&client.status(id).await?, common)),
        Command::Status { id: None } => match client.list(1, None).await?.executions.first() {
            Some(newest) => Ok(status(newest, common)),
            None => {
                complain("there are no executions yet; start one with: ccb exec \"prompt\"");
                Ok((String::new(), exit::FAILED))
            }
        },
        Command::Pause { id } => control(&client, id, Control::Pause, common).await,
        Command::Resume { id } => control(&client, id, Control::Resume, common).await,
        Command::Cancel { id } => control(&client, id, Control::Cancel, common).await,
        Command::Share(args) => share(&client, args, common).await,
        Command::Questions(args) => questions::list(&client, &args, common).await,
        Command::Answer(args) => questions::answer(&client, *args, common).await,
        Command::Exec(_)
        | Command::Attach(_)
        | Command::Doctor(_)
        | Command::Mcp
        | Command::Token(_)
        | Command::Webhook(_) => Ok((String::new(), exit::INTERNAL)), // main runs these
    };
    client.close().await;
    answer
}

async fn control(
    client: &Client,
    id: protocol::ExecutionId,
    control: Control,
    common: &Common,
) -> Result<(String, Exit), Error> {
    let status = client.control(id, control).await?;
    if common.json {
        return Ok((line(&status), exit::OK));
    }
    Ok((format!("{} {id}\n", show::activity(&status)), exit::OK))
}

async fn share(client: &Client, args: ShareArgs, common: &Common) -> Result<(String, Exit), Error> {
    let share = client
        .share(ShareParams {
            execution_id: args.id,
            role: args.role.into(),
            expires_seconds: Some(args.expires),
        })
        .await?;
    if common.json {
        return Ok((line(&share), exit::OK));
    }
    if !common.quiet {
        complain(&format!(
            "this token opens {} until {} (role {}); it is shown only once",
            args.id,
            show::local(share.expires),
            share.role.role().as_str()
        ));
    }
    Ok((format!("{}\n", show::one_line(&share.token)), exit::OK))
}

fn status(status: &Status, common: &Common) -> (String, Exit) {
    let text = if common.json {
        line(status)
    } else {
        show::details(status)
    };
    (text, exit::OK)
}

fn line(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value).unwrap_or_default();
    crate::stdout::json_line(&json)
}
