//! A request of any method.

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
        /// It serializes as its parameters.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Request {
            $($(#[$doc])* $variant(Box<$params>),)*
        }

        impl Request {
            /// The names of all methods.
            pub const METHODS: &[&str] = &[$($params::NAME,)*];

            /// Returns the name of the method.
            #[must_use]
            pub fn method(&self) -> &'static str {
                match self { $(Self::$variant(_) => $params::NAME,)* }
            }

            /// Reads the parameters of a method. Returns `None` for an unknown method.
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
    /// Runs a prompt, and views its execution from offset 0.
    Execute(ExecuteParams);
    /// Pauses, resumes or cancels an execution.
    Control(ControlParams);
    /// Views an execution.
    Attach(AttachParams);
    /// Ends a view.
    Detach(DetachParams);
    /// Requests the status object.
    Status(StatusParams);
    /// Requests a page of statuses, newest first.
    List(ListParams);
    /// Requests a part of the CLI's stdout.
    Events(EventsParams);
    /// Sends lines for the CLI's stdin.
    Input(InputParams);
    /// Checks that the bridge answers.
    Ping(PingParams);
}
