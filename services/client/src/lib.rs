//! The Rust client of the bridge: executes, attaches, controls, and joins the output of an execution exactly,
//! through lost connections and restarts of the bridge.
//!
//! ```no_run
//! # async fn example() -> Result<(), client::Error> {
//! use client::{Client, Event, Execute, Options};
//!
//! let client = Client::connect("ws://127.0.0.1:8003/ws", Options::default()).await?;
//! let mut run = client.execute(Execute::prompt("say hello"))?;
//! while let Some(event) = run.next().await? {
//!     match event {
//!         Event::Output { bytes, .. } => { /* the next bytes of the output, each exactly once */ }
//!         Event::Terminal { update, .. } => println!("{:?}", update.status.state),
//!         _ => {}
//!     }
//! }
//! # Ok(()) }
//! ```

mod actor;
pub mod address;
pub mod assembly;
mod book;
mod error;
mod link;
mod options;
mod request;
mod run;
mod session;
pub mod wire;

pub use address::Address;
pub use assembly::{Assembly, Broken, Verdict};
pub use error::Error;
pub use options::Options;
pub use request::{Attach, Control, Execute};
pub use run::{Event, Run};
pub use session::Client;
pub use wire::{Connected, Notice, StatusUpdate};
