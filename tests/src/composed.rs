//! The composed stack in tests: containers of the images that `scripts/up` builds.
//!
//! ```text
//! case(Duration::from_secs(60), Use::Shared, async |case| {
//!     let project = Project::shared();                 // the stack that CCB_WS and CCB_HTTP name
//!     let mut client = project.client().await;
//!     case.step("the prompt runs");
//!     ...
//! }).await;
//! let own = Project::up("dns", &Plan::default()).await; // its own containers, removed on drop
//! ```
//!
//! A [`Project`] that is dropped by a failing test prints its containers' logs and the executions'
//! statuses.

mod browser;
mod case;
pub mod docker;
mod documented;
mod idle_proxy;
pub mod liar;
mod machine;
mod operator;
mod plan;
mod project;
mod report;
mod tally;
mod tree;

pub use browser::Browser;
pub use case::{Case, Use, case};
pub use documented::Documented;
pub use idle_proxy::IdleProxy;
pub use machine::Machine;
pub use operator::{Operator, PUBLIC_NAME};
pub use plan::Plan;
pub use project::Project;
pub use tally::Tally;
pub use tree::Tree;

pub use crate::harness::until;
