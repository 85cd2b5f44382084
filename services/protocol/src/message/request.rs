//! A JSON-RPC request of any method that the bridge accepts, with its parameters.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::execute::ExecuteParams;
use super::method::Method;
use super::params::{
    AnswerParams, AttachParams, ControlParams, DetachParams, EventsParams, InputParams, ListParams,
    PingParams, ShareParams, StatusParams,
};

macro_rules! requests {
    ($($(#[$doc:meta])* $variant:ident($params:ident);)*) => {
        /// The method and parameters of a JSON-RPC request (docs/protocol.md, "Requests").
        ///
        /// It serializes as the parameters alone. The type `ClientMessage` adds the method and the
        /// id.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $($(#[$doc])* $variant(Box<$params>),)*
        }

        impl Request {
            /// The names of all methods as JSON has them, for example `execute`.
            pub const METHODS: &[&str] = &[$($params::NAME,)*];

            /// Returns the name of the request's method as JSON has it, for example `execute`.
            #[must_use]
            pub fn method(&self) -> &'static str {
                match self { $(Self::$variant(_) => $params::NAME,)* }
            }

            /// Parses a request from the name of its method and its JSON parameters. Returns `None`
            /// if no method has this name.
            ///
            /// # Errors
            /// A parameter is missing or unknown, or has a wrong type or value.
            pub fn read(method: &str, params: Value) -> Option<serde_json::Result<Self>> {
                match method {
                    $($params::NAME => {
                        let params = serde_json::from_value(params);
                        Some(params.map(|params| Self::$variant(Box::new(params))))
                    })*
                    _ => None,
                }
            }
        }

        impl Serialize for Request {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self { $(Self::$variant(params) => params.serialize(serializer),)* }
            }
        }

        $(impl From<$params> for Request {
            fn from(params: $params) -> Self {
                Self::$variant(Box::new(params))
            }
        })*
    };
}

requests! {
    /// Runs a prompt as a new execution, and streams its statuses and its output from offset 0. If
    /// an execution with this id and an equal body exists already, the bridge streams it and runs
    /// nothing.
    Execute(ExecuteParams);
    /// Pauses, resumes or cancels an execution.
    Control(ControlParams);
    /// Streams the output and statuses of an existing execution to this client.
    Attach(AttachParams);
    /// Stops the messages about an execution to this client. The execution continues.
    Detach(DetachParams);
    /// Returns the status object of an execution.
    Status(StatusParams);
    /// Returns one page of the list of executions as status objects, newest first.
    List(ListParams);
    /// Returns a part of the stdout of an execution's CLI, normally JSON lines.
    Events(EventsParams);
    /// Writes lines to the stdin of an execution's CLI.
    Input(InputParams);
    /// Creates a token that opens one execution to somebody else.
    Share(ShareParams);
    /// Answers a question of an execution.
    Answer(AnswerParams);
    /// Asks the bridge for an empty answer, to check that it is alive.
    Ping(PingParams);
}
