//! The commands of webhooks: `ccb webhook verify`, which checks a received one, and
//! `ccb webhook secret new`.

use std::io::{self, Read};
use std::path::Path;

use jiff::Timestamp;
use protocol::webhook::{BadSecret, SignedHeaders, WebhookSecret, header, verify};

use crate::access::hide_memory;
use crate::args::{Common, SecretCommand, VerifyArgs, WebhookCommand};
use crate::exit::{self, Exit};
use crate::failure::Failure;
use crate::secret_output::Output;
use crate::{complain, values};

/// The variable with the secret, if no file is named.
const VARIABLE: &str = "CCB_WEBHOOK_SECRET";
/// The most bytes that are read of each input. A webhook is at most 256 KiB long.
const INPUT_BYTES: u64 = 16 << 20;

/// Runs `ccb webhook`, and returns the exit code of `ccb`.
pub(crate) fn run(command: WebhookCommand, common: &Common) -> Exit {
    let result = match command {
        WebhookCommand::Verify(args) => verified(&args, common.quiet),
        WebhookCommand::Secret {
            command: SecretCommand::New { out },
        } => new_secret(out.as_deref(), common.quiet),
    };
    match result {
        Ok(()) => exit::OK,
        Err(Failure(exit, message)) => {
            complain(&message);
            exit
        }
    }
}

/// Checks a webhook. A webhook that is not genuine is a failure with exit code 1.
fn verified(args: &VerifyArgs, quiet: bool) -> Result<(), Failure> {
    hide_memory().map_err(Failure::system)?;
    let headers = signed_headers(args)?;
    let secrets = secrets(args.secret_file.as_deref())?;
    let body = match args.body.as_deref() {
        None => read(None)?,
        Some(path) if path.as_os_str() == "-" => read(None)?,
        Some(path) => read(Some(path))?,
    };
    let now = Timestamp::now();
    match verify(&secrets, &headers, &body, now, args.tolerance) {
        Ok(()) => {
            if !quiet {
                complain(&format!("the webhook {} is genuine", headers.id));
            }
            Ok(())
        }
        Err(error) => Err(Failure(
            exit::FAILED,
            format!("the webhook is not genuine: {error}"),
        )),
    }
}

/// Takes the three headers from the arguments and the file of headers.
fn signed_headers(args: &VerifyArgs) -> Result<SignedHeaders, Failure> {
    let mut given = args.header.clone();
    if let Some(path) = &args.headers {
        let text = read(Some(path))?;
        let lines = String::from_utf8_lossy(&text).into_owned();
        // Without lines such as `POST / HTTP/1.1`.
        given.extend(lines.lines().filter_map(|line| values::header(line).ok()));
    }
    let value = |name: &str| {
        let is_named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        let mut values = given.iter().filter(is_named).map(|(_, value)| value);
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value.clone()),
            (None, _) => Err(Failure::usage(format!(
                "the header {name} is missing; give it with --header '{name}: VALUE', or in the \
                 file of --headers"
            ))),
            (Some(_), Some(_)) => Err(Failure::usage(format!("the header {name} is given twice"))),
        }
    };
    Ok(SignedHeaders {
        id: value(header::ID)?,
        timestamp: value(header::TIMESTAMP)?,
        signature: value(header::SIGNATURE)?,
    })
}

/// Reads the secrets from the file, or from the variable.
fn secrets(file: Option<&Path>) -> Result<Vec<WebhookSecret>, Failure> {
    let (text, place) = match file {
        Some(path) => {
            let text = String::from_utf8_lossy(&read(Some(path))?).into_owned();
            (text, path.display().to_string())
        }
        None => match std::env::var_os(VARIABLE) {
            Some(text) => (
                text.to_string_lossy().into_owned(),
                format!("the variable {VARIABLE}"),
            ),
            None => {
                return Err(Failure::usage(format!(
                    "give the secret with --secret-file FILE or {VARIABLE}"
                )));
            }
        },
    };
    let parse = |word: &str| {
        word.parse()
            .map_err(|error: BadSecret| Failure::usage(format!("{place}: {error}")))
    };
    let secrets: Vec<_> = text
        .split_whitespace()
        .map(parse)
        .collect::<Result<_, _>>()?;
    if secrets.is_empty() {
        return Err(Failure::usage(format!("{place} is empty")));
    }
    Ok(secrets)
}

/// Reads a file, or stdin.
fn read(path: Option<&Path>) -> Result<Vec<u8>, Failure> {
    let name = path.map_or_else(|| "stdin".to_owned(), |path| path.display().to_string());
    let failed = |error: io::Error| Failure::usage(format!("{name} could not be read: {error}"));
    let mut bytes = Vec::new();
    let read = match path {
        None => io::stdin()
            .lock()
            .take(INPUT_BYTES + 1)
            .read_to_end(&mut bytes),
        Some(path) => std::fs::File::open(path)
            .and_then(|file| file.take(INPUT_BYTES + 1).read_to_end(&mut bytes)),
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > INPUT_BYTES {
        return Err(Failure::usage(format!(
            "{name} is longer than 16 MiB, so it is no webhook"
        )));
    }
    Ok(bytes)
}

/// Makes a secret, and writes it once.
fn new_secret(out: Option<&Path>, quiet: bool) -> Result<(), Failure> {
    hide_memory().map_err(Failure::system)?;
    let output = Output::choose(out, "secret").map_err(Failure::usage)?;
    let secret = WebhookSecret::generate()
        .map_err(|error| Failure::system(format!("could not make a secret: {error}")))?;
    let written = output.write("secret", &secret)?;
    if let (Some(path), false) = (written.keep(), quiet) {
        complain(&format!(
            "wrote the secret to {}; add it to the file that CREDENTIALS_WEBHOOK_SECRETS_FILE \
             names, and give it to the receiver",
            path.display()
        ));
    }
    Ok(())
}
