//! A client of claude-api that reports details most clients hide: trailers, aborted streams, and
//! each line when it arrives.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use anyhow::Context;
use http_body_util::BodyExt;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde_json::Value;

use crate::described::{self, http::Answer};

const CONNECT: Duration = Duration::from_secs(5);

/// A client of one claude-api.
#[derive(Debug, Clone)]
pub struct Http {
    client: reqwest::Client,
    base: String,
}

/// An output stream, read to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// The received bytes.
    pub bytes: Vec<u8>,
    /// The trailers; empty if there were none.
    pub trailers: HashMap<String, String>,
    /// Whether the stream ended cleanly; a failed stream ends in an aborted connection.
    pub clean: bool,
    /// The number of received frames, which is about the number of flushes.
    pub frames: usize,
}

impl Http {
    /// Creates a client of `addr`, which uses no proxy.
    ///
    /// # Panics
    /// If the client cannot be created.
    #[must_use]
    pub fn new(addr: SocketAddr) -> Self {
        Self::at(&format!("http://{addr}"))
    }

    /// Creates a client of `addr` that sends a token with each request, and uses no proxy.
    ///
    /// # Panics
    /// If the client cannot be created, or a header cannot have the token.
    #[must_use]
    pub fn with_token(addr: SocketAddr, token: &str) -> Self {
        let value = HeaderValue::try_from(format!("Bearer {token}")).expect("a header's value");
        let headers = HeaderMap::from_iter([(AUTHORIZATION, value)]);
        Self::build(&format!("http://{addr}"), headers)
    }

    /// Creates a client of a base URL without a path.
    ///
    /// # Panics
    /// If the client cannot be created.
    #[must_use]
    pub fn at(base: &str) -> Self {
        Self::build(base, HeaderMap::new())
    }

    fn build(base: &str, headers: HeaderMap) -> Self {
        let client = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT)
            .default_headers(headers)
            .build()
            .expect("a client");
        Self {
            client,
            base: base.trim_end_matches('/').to_owned(),
        }
    }

    /// Returns a request that the caller can change and send.
    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends a request with an optional JSON body; returns the status code and the JSON (null for
    /// no JSON).
    ///
    /// # Errors
    /// What the connection fails with.
    ///
    /// # Panics
    /// If the answer is not as the OpenAPI document of claude-api says.
    pub async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> anyhow::Result<(StatusCode, Value)> {
        let mut request = self
            .request(method.clone(), path)
            .header("accept", "application/json");
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request
            .send()
            .await
            .with_context(|| format!("{} {path}", self.base))?;
        let code = response.status();
        let kind = content_type(&response);
        let text = response.bytes().await?;
        let json = serde_json::from_slice(&text);
        let answer = Answer {
            code: code.as_u16(),
            kind: &kind,
            json: json.as_ref().ok(),
        };
        if let Err(difference) = described::http::check(method.as_str(), path, body, answer) {
            panic!("{difference}");
        }
        Ok((code, json.unwrap_or(Value::Null)))
    }

    /// Sends a GET; returns the status code and the JSON.
    ///
    /// # Errors
    /// What the connection fails with.
    pub async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        self.call(Method::GET, path, None).await
    }

    /// Sends the PUT of an execution; returns its status.
    ///
    /// # Errors
    /// What the connection fails with.
    pub async fn put(&self, id: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        self.call(Method::PUT, &format!("/v1/executions/{id}"), Some(body))
            .await
    }

    /// Returns the status of an execution.
    ///
    /// # Errors
    /// What the connection fails with, and any answer but 200.
    pub async fn status(&self, id: &str) -> anyhow::Result<Value> {
        let (code, status) = self.get(&format!("/v1/executions/{id}")).await?;
        anyhow::ensure!(code == StatusCode::OK, "GET answered {code}: {status}");
        Ok(status)
    }

    /// Reads the output of an execution from an offset to its end.
    ///
    /// # Errors
    /// What the connection fails with before the body, and any answer but 200.
    pub async fn output(&self, id: &str, offset: u64) -> anyhow::Result<Output> {
        let response = self.open_output(id, offset).await?;
        Ok(read_output(response).await)
    }

    /// Opens the output stream, for a test that reads it at its own pace.
    ///
    /// # Errors
    /// What the connection fails with, and any answer but 200.
    pub async fn open_output(&self, id: &str, offset: u64) -> anyhow::Result<Response> {
        let path = format!("/v1/executions/{id}/output?offset={offset}");
        let response = self
            .request(Method::GET, &path)
            .header("te", "trailers")
            .send()
            .await?;
        anyhow::ensure!(
            response.status() == StatusCode::OK,
            "{path} answered {}",
            response.status()
        );
        check_stream(&path, &response);
        Ok(response)
    }

    /// Follows the status of an execution.
    ///
    /// # Errors
    /// What the connection fails with, and any answer but 200.
    pub async fn follow(&self, id: &str) -> anyhow::Result<Lines> {
        let path = format!("/v1/executions/{id}?follow=true");
        let response = self.request(Method::GET, &path).send().await?;
        anyhow::ensure!(
            response.status() == StatusCode::OK,
            "{path} answered {}",
            response.status()
        );
        check_stream(&path, &response);
        Ok(Lines {
            response,
            buffer: Vec::new(),
        })
    }

    /// Follows the status of an execution until it is terminal; returns all statuses.
    ///
    /// # Errors
    /// What the connection fails with; a stream that ends before the terminal status, or continues
    /// after it.
    pub async fn follow_to_end(&self, id: &str) -> anyhow::Result<Vec<Value>> {
        let mut lines = self.follow(id).await?;
        let mut seen = Vec::new();
        while let Some(line) = lines.next().await? {
            crate::ws::status::check(&line).map_err(anyhow::Error::msg)?;
            let before = seen.last().is_some_and(is_terminal);
            anyhow::ensure!(!before, "a status after the terminal one: {line}");
            seen.push(line);
        }
        anyhow::ensure!(
            seen.last().is_some_and(is_terminal),
            "the stream ended before the execution: {seen:?}"
        );
        Ok(seen)
    }
}

/// Returns the media type of an answer; empty if it has none.
fn content_type(response: &Response) -> String {
    let value = response.headers().get(reqwest::header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok());
    text.unwrap_or_default().to_owned()
}

fn is_terminal(status: &Value) -> bool {
    status["state"]
        .as_str()
        .is_some_and(crate::ws::status::is_terminal)
}

/// Checks the head of a stream.
///
/// # Panics
/// If it is not as the OpenAPI document of claude-api says.
fn check_stream(path: &str, response: &Response) {
    let answer = Answer {
        code: response.status().as_u16(),
        kind: &content_type(response),
        json: None,
    };
    if let Err(difference) = described::http::check("GET", path, None, answer) {
        panic!("{difference}");
    }
}

/// Reads a response and its trailers to the end.
pub async fn read_output(response: Response) -> Output {
    let response: http::Response<reqwest::Body> = response.into();
    let mut body = response.into_body();
    let mut output = Output::default();
    loop {
        match body.frame().await {
            None => {
                output.clean = true;
                return output;
            }
            Some(Err(_)) => return output,
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    output.frames += 1;
                    output.bytes.extend_from_slice(&data);
                }
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    let text = |value: &http::HeaderValue| {
                        String::from_utf8_lossy(value.as_bytes()).into_owned()
                    };
                    output.trailers.extend(
                        trailers
                            .iter()
                            .map(|(name, value)| (name.as_str().to_owned(), text(value))),
                    );
                }
            },
        }
    }
}

impl Output {
    /// Asserts that the output is complete from offset 0: a clean end, and matching trailers.
    ///
    /// # Panics
    /// If it is not complete.
    #[track_caller]
    pub fn assert_whole(&self, state: &str) {
        assert!(
            self.clean,
            "the stream was aborted after {} bytes",
            self.bytes.len()
        );
        let trailer = |name: &str| self.trailers.get(name).map(String::as_str);
        assert_eq!(
            trailer("execution-state"),
            Some(state),
            "{:?}",
            self.trailers
        );
        assert_eq!(
            trailer("output-length"),
            Some(self.bytes.len().to_string().as_str())
        );
        assert_eq!(
            trailer("output-crc32"),
            Some(format!("{:08x}", crc32fast::hash(&self.bytes)).as_str())
        );
    }
}

/// A stream of statuses, as lines of JSON.
#[derive(Debug)]
pub struct Lines {
    response: Response,
    buffer: Vec<u8>,
}

impl Lines {
    /// Returns the next line; `None` at a clean end.
    ///
    /// # Errors
    /// If the stream is aborted, ends within a line, or has a line that is no status as the OpenAPI
    /// document of claude-api describes it.
    pub async fn next(&mut self) -> anyhow::Result<Option<Value>> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                let status = serde_json::from_slice(&line).context("a line that is no JSON")?;
                described::http::check_status(&status).map_err(anyhow::Error::msg)?;
                return Ok(Some(status));
            }
            match self.response.chunk().await? {
                Some(chunk) => self.buffer.extend_from_slice(&chunk),
                None => {
                    anyhow::ensure!(self.buffer.is_empty(), "the stream ends within a line");
                    return Ok(None);
                }
            }
        }
    }
}
