//! A request of any method, with its parameters.

use serde::{Serialize, Serializer};
use serde_json::Value;

use super::execute::ExecuteParams;
use super::method::Method;
use super::params::{
    AttachParams, ControlParams, DetachParams, EventsParams, InputParams, ListParams, PingParams,
    StatusParams,
};

macro_rules! requests {
    ($($(#[$doc:meta])* $variant:ident($params:ident);)*) => {
        /// A request of any method: docs/protocol.md, "Requests".
        ///
        /// It serializes as its parameters alone. The message of a client adds the method and the
        /// id.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $($(#[$doc])* $variant(Box<$params>),)*
        }

        impl Request {
            /// The names of all methods, as messages write them.
            pub const METHODS: &[&str] = &[$($params::NAME,)*];

            /// Returns the name of the request's method, as a message writes it.
            #[must_use]
            pub fn method(&self) -> &'static str {
                match self { $(Self::$variant(_) => $params::NAME,)* }
            }

            /// Creates a request from the name of its method and its JSON parameters. Returns
            /// `None` for an unknown method.
            ///
            /// # Errors
            /// A parameter is missing, unknown or of a wrong type.
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
    /// Runs a prompt as a new execution, and sends its output from offset 0 and its statuses.
    Execute(ExecuteParams);
    /// Pauses, resumes or cancels an execution.
    Control(ControlParams);
    /// Sends the output and statuses of an existing execution.
    Attach(AttachParams);
    /// Stops sending messages about an execution, which continues.
    Detach(DetachParams);
    /// Returns the status object of an execution.
    Status(StatusParams);
    /// Returns a page of status objects, newest first.
    List(ListParams);
    /// Returns a part of the CLI's stdout.
    Events(EventsParams);
    /// Writes lines to the CLI's stdin.
    Input(InputParams);
    /// Checks that the bridge answers.
    Ping(PingParams);
}
