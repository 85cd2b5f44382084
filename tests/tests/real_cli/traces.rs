//! A trace through all services to the real CLI and its Bash tool: client, bridge, claude-api, CLI.
//! The CLI reaches its model through the service `credentials`, which records no spans.

use cc_tests::credentials::CREDENTIALS_IP;
use cc_tests::harness::{Service, ServiceOptions, Stack, StackOptions, binary};
use cc_tests::otlp::{Answer, Receiver, Span};
use cc_tests::{model, ws};
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::task::AbortOnDropHandle;

use super::{PATIENCE, claude};

/// The trace of the client, and its span.
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CLIENT: &str = "b7ad6b7169203331";
/// Prints the program that is the parent of the tool's shell, and the trace context of both.
const SCRIPT: &str = "@bash readlink /proc/$PPID/exe; \
                      tr '\\000' '\\n' </proc/$PPID/environ | grep ^TRACE | sort; \
                      echo tool; env | grep ^TRACE | sort";

/// The services, and the model behind them.
struct World {
    stack: Stack,
    credentials: Service,
    _model: AbortOnDropHandle<std::io::Result<()>>,
}

impl World {
    /// Starts everything. The bridge and claude-api send their spans to this endpoint.
    async fn start(endpoint: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("bound"));
        let config = model::Config {
            accepted_keys: vec!["the-real-key".to_owned()],
            ..model::Config::default()
        };
        let serving = model::serve(listener, config, std::future::pending());
        let model = AbortOnDropHandle::new(tokio::spawn(serving));
        // Free until `credentials` listens on it.
        let reserved = TcpListener::bind((CREDENTIALS_IP, 0))
            .await
            .expect("a free port");
        let url = reserved.local_addr().expect("bound");
        let options = StackOptions {
            claude_bin: Some(claude()),
            ..StackOptions::default()
        };
        let options = options
            .one_bridge()
            .env("LANG", "C.UTF-8")
            .env("CLAUDE_API_ALLOWED_TOOLS", "Bash")
            .env("ANTHROPIC_API_KEY", "")
            .api(format!("--credentials-url=http://{url}"))
            .api("--credentials-port=0")
            .api(format!("--otlp-endpoint={endpoint}"))
            .bridge(format!("--otlp-endpoint={endpoint}"));
        let stack = Stack::with(options).await;
        drop(reserved);
        let credentials = Service::start(ServiceOptions {
            name: "credentials".to_owned(),
            program: binary("credentials"),
            arguments: vec![
                format!("--host={CREDENTIALS_IP}"),
                format!("--port={}", url.port()),
                format!("--claude-api={}", stack.api.credentials_addr()),
            ],
            environment: vec![
                ("ANTHROPIC_API_KEY".to_owned(), "the-real-key".to_owned()),
                ("ANTHROPIC_BASE_URL".to_owned(), base),
            ],
            log: stack.path("credentials.log"),
        })
        .await;
        Self {
            stack,
            credentials,
            _model: model,
        }
    }
}

/// Asserts that the CLI and its Bash tool have this trace context, and no other.
#[track_caller]
fn assert_context(output: &str, context: &[&str]) {
    let (cli, tool) = output.split_once("tool\n").expect("both parts");
    let (program, cli) = cli.split_once('\n').expect("the program of the parent");
    let expected = std::fs::canonicalize(claude()).expect("the CLI");
    assert_eq!(std::path::Path::new(program), expected);
    for part in [cli, tool] {
        assert_eq!(part.lines().collect::<Vec<_>>(), context, "{output}");
    }
}

#[tokio::test]
async fn one_trace_goes_from_the_client_to_the_cli_and_its_bash_tool() {
    let receiver = Receiver::start(Answer::Accept).await;
    let world = World::start(&receiver.endpoint()).await;
    let options = ws::Options {
        patience: PATIENCE,
        ..ws::Options::default()
    };
    let mut client = ws::Client::connect_with(world.stack.ws_addr(), options).await;
    let trace = json!({
        "traceparent": format!("00-{TRACE}-{CLIENT}-01"),
        "tracestate": "rojo=1",
    });
    let answer = client.execute(SCRIPT, trace).await;
    let id = answer["executionId"].as_str().expect("an id").to_owned();
    let (output, end) = client.wait_terminal(&id).await;
    assert_eq!(end["status"], "COMPLETED", "{end}");
    client.finish().await;
    let span = async |service: &str, name: &str| {
        let wanted = |s: &Span| (&*s.service, &*s.name, &*s.trace) == (service, name, TRACE);
        receiver.find(&format!("{name} of {service}"), wanted).await
    };
    let execute = span("bridge", "execute").await;
    let put = span("bridge", "PUT").await;
    let accept = span("claude-api", "PUT /v1/executions/{id}").await;
    let execution = span("claude-api", "execution").await;
    let parents = [&execute, &put, &accept, &execution].map(|span| &*span.parent);
    assert_eq!(parents, [CLIENT, &execute.id, &put.id, &accept.id]);
    for span in [&execute, &accept, &execution] {
        assert_eq!(span.attribute("ccb.execution.id"), id);
        assert!(!span.failed, "{span:?}");
    }
    assert_eq!(execution.attribute("ccb.execution.state"), "completed");
    let output = String::from_utf8(output).expect("UTF-8");
    let parent = format!("TRACEPARENT={}", execution.traceparent());
    assert_context(&output, &[&parent, "TRACESTATE=rojo=1"]);
    // The answers of the model came through `credentials`, which has the key and no spans.
    let services: std::collections::BTreeSet<_> = receiver
        .spans()
        .into_iter()
        .map(|span| span.service)
        .collect();
    assert_eq!(
        services.iter().collect::<Vec<_>>(),
        ["bridge", "claude-api"]
    );
    world.stack.assert_quiet();
    world.credentials.assert_quiet();
}
