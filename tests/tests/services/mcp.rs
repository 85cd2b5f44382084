//! The MCP server, over streamable HTTP and over stdio.

mod bounds;
mod conformance;
mod leaving;
mod raw;
mod restart;
mod sdk;
mod tools;

use std::time::Duration;

use cc_tests::harness::Stack;
use reqwest::Method;
use serde_json::Value;
use tokio::time::timeout;

use crate::support::{PATIENCE, path};

async fn state(stack: &Stack, execution: &str) -> Value {
    let request = stack.http().request(Method::GET, &path(execution, ""));
    let response = request.send().await.expect("an answer");
    let body = response.bytes().await.expect("a body");
    serde_json::from_slice::<Value>(&body).unwrap_or_default()["state"].take()
}

async fn until(stack: &Stack, execution: &str, wanted: &str) {
    timeout(PATIENCE, async {
        while state(stack, execution).await != wanted {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("{execution} does not become {wanted}"));
}
