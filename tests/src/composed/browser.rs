//! A real browser without a window, controlled by the Chrome DevTools Protocol over a pipe.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// The timeout of a call: the start of the browser, or a script of a page.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page. It ends when it is dropped.
#[derive(Debug)]
pub struct Browser {
    _process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    calls: u64,
    /// The session of the protocol for the page; empty before there is one.
    session: String,
}

impl Browser {
    /// Starts the browser, whose command has pipes for the protocol as stdin and stdout.
    ///
    /// # Panics
    /// If it does not answer.
    pub(super) async fn start(mut command: Command) -> Self {
        let mut process = command.spawn().expect("the browser starts");
        let mut browser = Self {
            input: process.stdin.take().expect("a pipe"),
            output: BufReader::new(process.stdout.take().expect("a pipe")),
            _process: process,
            calls: 0,
            session: String::new(),
        };
        let target = browser
            .call("Target.createTarget", json!({"url": "about:blank"}))
            .await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = browser.call("Target.attachToTarget", attach).await;
        let session = session["sessionId"].as_str().expect("a session");
        session.clone_into(&mut browser.session);
        browser
    }

    /// Opens a page and waits until it is loaded. Returns the browser's error, such as
    /// `net::ERR_CERT_AUTHORITY_INVALID`.
    ///
    /// # Errors
    /// The browser could not load the page.
    pub async fn open(&mut self, url: &str) -> Result<(), String> {
        let answer = self.call("Page.navigate", json!({"url": url})).await;
        if let Some(error) = answer["errorText"].as_str() {
            return Err(error.to_owned());
        }
        let loaded = "new Promise((done) => document.readyState === 'complete' ? done() : \
                      addEventListener('load', () => done()))";
        self.evaluate(loaded).await?;
        Ok(())
    }

    /// Runs a script in the page and returns its value, after a promise is settled.
    ///
    /// # Errors
    /// The script threw an exception: its text.
    pub async fn evaluate(&mut self, script: &str) -> Result<Value, String> {
        let parameters = json!({"expression": script, "awaitPromise": true, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", parameters).await;
        match answer.get("exceptionDetails") {
            Some(exception) => Err(exception.to_string()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Calls a method and returns its result. Events that arrive before it are dropped.
    async fn call(&mut self, method: &str, params: Value) -> Value {
        self.calls += 1;
        let mut message = json!({"id": self.calls, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = self.session.as_str().into();
        }
        let talk = async {
            let text = format!("{message}\0");
            self.input.write_all(text.as_bytes()).await?;
            loop {
                let mut bytes = Vec::new();
                self.output.read_until(0, &mut bytes).await?;
                anyhow::ensure!(bytes.pop() == Some(0), "the browser has ended");
                let mut answer: Value = serde_json::from_slice(&bytes)?;
                if answer["id"] == self.calls {
                    anyhow::ensure!(answer["error"].is_null(), "{answer}");
                    return Ok(answer["result"].take());
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, talk).await;
        let answer = answer.unwrap_or_else(|_| panic!("{method} has no answer"));
        answer.unwrap_or_else(|error| panic!("{method}: {error:#}"))
    }
}
