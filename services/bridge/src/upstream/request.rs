//! A request to claude-api with its span.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use telemetry::Span;

/// A request to claude-api that is not sent yet. Its span begins when it is made and ends with the
/// head of the answer, or when it is dropped.
pub(super) struct Request {
    builder: reqwest::RequestBuilder,
    span: Span,
}

impl Request {
    /// Wraps a request, which gets the trace of `span` as its headers.
    pub(super) fn new(mut builder: reqwest::RequestBuilder, span: Span) -> Self {
        if let Some(context) = span.context() {
            let mut headers = HeaderMap::new();
            context.set_headers(&mut headers);
            builder = builder.headers(headers);
        }
        Self { builder, span }
    }

    /// Adds a header.
    pub(super) fn header<K, V>(mut self, name: K, value: V) -> Self
    where
        HeaderName: TryFrom<K>,
        <HeaderName as TryFrom<K>>::Error: Into<http::Error>,
        HeaderValue: TryFrom<V>,
        <HeaderValue as TryFrom<V>>::Error: Into<http::Error>,
    {
        self.builder = self.builder.header(name, value);
        self
    }

    /// Sets the body.
    pub(super) fn body(mut self, body: Bytes) -> Self {
        self.builder = self.builder.body(body);
        self
    }

    /// Sets a value as the body, as JSON.
    pub(super) fn json(mut self, value: &impl Serialize) -> Self {
        self.builder = self.builder.json(value);
        self
    }

    /// Sends the request, and returns the answer once its head has arrived.
    ///
    /// # Errors
    /// The connection failed.
    pub(super) async fn send(self) -> reqwest::Result<reqwest::Response> {
        let Self { builder, mut span } = self;
        let sent = builder.send().await;
        let status = sent.as_ref().ok().map(|answer| answer.status().as_u16());
        note_answer(&mut span, status);
        sent
    }
}

/// Notes the HTTP status of an answer in the span of its request. `None` means that there is no
/// answer.
pub(super) fn note_answer(span: &mut Span, status: Option<u16>) {
    match status {
        Some(status) => {
            span.set("http.response.status_code", i64::from(status));
            if status >= 400 {
                span.fail(status.to_string());
            }
        }
        None => span.fail("no_answer"),
    }
}
