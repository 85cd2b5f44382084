//! Who may use the services: what the model runs may not, whatever it sends. Other machines may,
//! through TLS and with a token.

mod from_the_box;
mod other_machine;

use std::net::{IpAddr, UdpSocket};

use cc_tests::{composed::Project, http::Http};
use reqwest::Method;
use serde_json::Value;

/// The host's own client of claude-api, with a token if the stack has any.
struct Host<'a> {
    http: Http,
    token: Option<&'a str>,
}

impl<'a> Host<'a> {
    fn new(project: &Project, token: Option<&'a str>) -> Self {
        Self {
            http: project.http(),
            token,
        }
    }

    /// Sends a request that must succeed; returns the text of the answer.
    async fn call(&self, method: Method, path: &str, accept: &str, body: Option<Value>) -> String {
        let what = format!("{method} {path}");
        let mut request = self.http.request(method, path).header("accept", accept);
        if let Some(token) = self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.expect("an answer");
        let status = answer.status();
        let text = answer.text().await.expect("a whole answer");
        assert!(status.is_success(), "{what}: {status} {text}");
        text
    }

    /// Returns the JSON of a page.
    async fn get(&self, path: &str) -> Value {
        let text = self.call(Method::GET, path, "application/json", None).await;
        serde_json::from_str(&text).expect("JSON")
    }

    /// Returns the value of a counter of claude-api without labels.
    async fn counter(&self, name: &str) -> u64 {
        let page = self.call(Method::GET, "/metrics", "text/plain", None).await;
        let mut lines = page.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no counter {name}: {page}"))
    }
}

/// Returns the address of this machine's link, if it has one.
fn link_address() -> Option<IpAddr> {
    // Nothing is sent: the kernel only chooses the address for this documentation network.
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}
