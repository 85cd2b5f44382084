//! A Rust client for cc-bridge, a service that runs prompts with the Claude CLI. It starts
//! executions over WebSocket, streams their output and controls them. It reconnects by itself, and
//! delivers each byte of the output once.
//!
//! # Add it to a program
//!
//! The crates are not published; depend on them by path. `protocol` has the states, the status
//! object, the body of an execution and the error codes. A program needs a tokio runtime.
//!
//! ```toml
//! [dependencies]
//! client = { path = "cc-bridge/services/client" }
//! protocol = { path = "cc-bridge/services/protocol" }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! # Execute and stream
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), client::Error> {
//! # let bridge = fake::Fake::start(fake::Plan::of("hello")).await;
//! # let url = bridge.url();
//! use client::{Client, Event, ExecuteParams, Options, OutputCheck};
//!
//! let client = Client::connect(&url, Options::default()).await?;
//! let mut run = client.execute(ExecuteParams::prompt("say hello"))?;
//! let mut text = Vec::new();
//! while let Some(event) = run.next().await? {
//!     match event {
//!         // The next bytes of the output, each exactly once.
//!         Event::Output { bytes, .. } => text.extend(bytes),
//!         Event::Terminal { update, verdict } => {
//!             println!("{:?}", update.status.state);
//!             assert_eq!(verdict, OutputCheck::Verified);
//!         }
//!         _ => {}
//!     }
//! }
//! assert_eq!(text, b"hello");
//! client.close().await;
//! # Ok(()) }
//! ```
//!
//! # Tokens and TLS
//!
//! A bridge that checks tokens requires one for each connection. The address of a bridge on another
//! machine begins with `wss://`. The client trusts the root certificates of this machine, and those
//! of a PEM file if one is given.
//!
//! ```no_run
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use client::{Client, Error, Options, Roots};
//!
//! let options = Options {
//!     token: Some(std::fs::read_to_string("token")?.trim().parse()?),
//!     roots: Roots::with_file("authority.pem".as_ref())?,
//!     ..Options::default()
//! };
//! match Client::connect("wss://bridge.example/ws", options).await {
//!     Ok(client) => client.ping().await?,
//!     // No retry helps: the token is missing, wrong, expired or removed.
//!     Err(Error::Unauthorized { reason, .. }) => eprintln!("{reason}"),
//!     Err(error) => return Err(error.into()),
//! }
//! # Ok(()) }
//! ```
//!
//! # Attach after a restart
//!
//! A [`Client`] reconnects and attaches by itself. A restarted program attaches with the id and the
//! offset that it has saved.
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), client::Error> {
//! # let bridge = fake::Fake::start(fake::Plan::of("hello, world")).await;
//! # let url = bridge.url();
//! # let saved_id = protocol::ExecutionId::random();
//! use client::{AttachParams, Client, Event, Options};
//!
//! let client = Client::connect(&url, Options::default()).await?;
//! let mut run = client.attach(AttachParams {
//!     offset: Some(7),
//!     ..AttachParams::from_start(saved_id)
//! });
//! let mut rest = Vec::new();
//! while let Some(event) = run.next().await? {
//!     if let Event::Output { bytes, .. } = event {
//!         rest.extend(bytes);
//!     }
//! }
//! assert_eq!(rest, b"world");
//! # Ok(()) }
//! ```
//!
//! # Pause, resume and cancel
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), client::Error> {
//! # let plan = fake::Plan { until_cancel: true, ..fake::Plan::of("a long answer") };
//! # let bridge = fake::Fake::start(plan).await;
//! # let url = bridge.url();
//! use client::{Client, Control, Event, ExecuteParams, Options};
//! use protocol::State;
//!
//! let client = Client::connect(&url, Options::default()).await?;
//! let mut run = client.execute(ExecuteParams::prompt("write a book"))?;
//! client.control(run.id(), Control::Pause).await?;
//! client.control(run.id(), Control::Resume).await?;
//! client.control(run.id(), Control::Cancel).await?;
//! while let Some(event) = run.next().await? {
//!     if let Event::Terminal { update, .. } = event {
//!         assert_eq!(update.status.state, State::Cancelled);
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! # Answer questions
//!
//! With `"permissionPrompts": "ask"` the execution asks before it uses a tool that needs a
//! permission (docs/questions.md). A run yields each question, and its end, also if another client
//! answers.
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), client::Error> {
//! # let bridge = fake::Fake::start(fake::Plan::asking("done")).await;
//! # let url = bridge.url();
//! use client::{Client, Event, ExecuteParams, Options};
//! use protocol::{Answer, PermissionPrompts};
//!
//! let client = Client::connect(&url, Options::default()).await?;
//! let mut execute = ExecuteParams::prompt("tidy up");
//! execute.body.permission_prompts = PermissionPrompts::Ask;
//! let mut run = client.execute(execute)?;
//! # let mut closes = 0;
//! while let Some(event) = run.next().await? {
//!     match event {
//!         Event::Question(question) => {
//!             println!("{}: {}", question.tool, question.title);
//!             let id = question.question_id;
//!             client.answer(run.id(), id, Answer::allow()).await?;
//!         }
//!         Event::QuestionClosed { question_id, closed } => {
//!             println!("{question_id} is closed: {closed:?}");
//! #           closes += 1;
//!         }
//!         _ => {}
//!     }
//! }
//! # assert_eq!(closes, 1);
//! # Ok(()) }
//! ```
//!
//! # Status and list
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), client::Error> {
//! # let bridge = fake::Fake::start(fake::Plan::of("hello")).await;
//! # let url = bridge.url();
//! use client::{Client, Options};
//!
//! let client = Client::connect(&url, Options::default()).await?;
//! let page = client.list(50, None).await?;
//! for status in &page.executions {
//!     println!("{} {:?}", status.execution_id, status.state);
//! }
//! let newest = client.status(page.executions[0].execution_id).await?;
//! assert_eq!(newest.execution_id, page.executions[0].execution_id);
//! # Ok(()) }
//! ```
//!
//! # Errors
//!
//! An error of the bridge has a code and data: docs/protocol.md, "Error codes" and "Error
//! reasons".
//!
//! ```
//! # mod fake { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/fake.rs")); }
//! # #[tokio::main]
//! # async fn main() -> Result<(), client::Error> {
//! # let plan = fake::Plan { kept_from: 4096, ..fake::Plan::of("hello") };
//! # let bridge = fake::Fake::start(plan).await;
//! # let url = bridge.url();
//! # let id = protocol::ExecutionId::random();
//! use client::{AttachParams, Client, Error, Options};
//! use protocol::rpc::code;
//!
//! let client = Client::connect(&url, Options::default()).await?;
//! let mut run = client.attach(AttachParams {
//!     offset: Some(10),
//!     ..AttachParams::from_start(id)
//! });
//! let Err(Error::Rpc(error)) = run.next().await else {
//!     panic!("the output before 4096 is not kept");
//! };
//! assert_eq!(error.code, code::OFFSET_NOT_KEPT);
//! assert_eq!(error.reason(), "offset_not_kept");
//! assert_eq!(error.data["keptFrom"], 4096);
//! # Ok(()) }
//! ```
//!
//! # Webhooks
//!
//! The receiver of webhooks checks each request, and ignores ids that it has handled before.
//!
//! ```
//! use client::webhook::{SignedHeaders, TOLERANCE, WebhookPayload, WebhookSecret, verify};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let secret = WebhookSecret::generate()?;
//! # let now = jiff::Timestamp::now();
//! # let body = br#"{"type":"execution.ended","timestamp":"2026-11-30T08:00:00Z","data":{
//! #   "executionId":"018f4e2a-7b3c-7def-8123-456789abcdef","state":"completed","reason":null,
//! #   "errorCode":null,"exitCode":0,"outputBytes":5,"createdAt":"2026-11-30T07:59:00Z",
//! #   "startedAt":null,"endedAt":null,"durationMs":1,"costUsd":null,"workspace":"default",
//! #   "lane":null,"conversation":null,"continues":null,"continuedBy":null,"metadata":{}}}"#;
//! # let headers = SignedHeaders::sign(&[secret.parse()?], "evt_1", now, body);
//! let secrets: [WebhookSecret; 1] = [secret.parse()?];
//! // `headers` are the three headers of the request, `body` its exact bytes.
//! verify(&secrets, &headers, body, now, TOLERANCE)?;
//! let payload: WebhookPayload = serde_json::from_slice(body)?;
//! println!("{}: {:?}", payload.kind, payload.data.state);
//! # Ok(()) }
//! ```
//!
//! A program that needs every frame uses the low layer, [`Connection`].

pub mod address;
mod client;
mod command;
pub mod connection;
mod error;
mod event;
mod live_connection;
mod machine;
mod options;
mod output_tracker;
mod refusal;
mod run;
mod task;
pub mod tls;
pub mod transport;

pub use address::Address;
pub use client::Client;
pub use connection::{
    Close, ConnectError, Connection, ConnectionOptions, Frame, ReadError, SendError,
};
pub use error::Error;
pub use event::Event;
pub use options::Options;
pub use output_tracker::{OutputCheck, OutputError, OutputTracker};
pub use protocol::message::{
    AttachParams, Connected, Control, ExecuteParams, Notice, StatusUpdate,
};
pub use protocol::webhook;
pub use run::Run;
pub use tls::{Roots, TlsError};
pub use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
