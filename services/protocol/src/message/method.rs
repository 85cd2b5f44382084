//! The trait that ties the parameters of a request to its method name and result type.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::execute::ExecuteParams;
use super::params::{
    AnswerParams, AttachParams, ControlParams, DetachParams, EventsParams, InputParams, ListParams,
    PingParams, ShareParams, StatusParams,
};
use super::results::{Accepted, Empty};
use crate::access::Share;
use crate::question::Answered;
use crate::rpc::method;
use crate::{Events, Page, Status};

/// The parameters of a JSON-RPC request. The trait connects them with the name of their method and
/// the type of the result, so that a client parses the answer as the right type (docs/protocol.md,
/// "Requests").
pub trait Method: Serialize + DeserializeOwned {
    /// The name of the method in JSON, for example `execute`.
    const NAME: &'static str;
    /// The type of the result in an answer to this request that is not an error.
    type Result: Serialize + DeserializeOwned;
}

macro_rules! methods {
    ($($params:ty, $name:ident -> $result:ty;)*) => {
        $(impl Method for $params {
            const NAME: &'static str = method::$name;
            type Result = $result;
        })*
    };
}

methods! {
    ExecuteParams, EXECUTE -> Status;
    ControlParams, CONTROL -> Status;
    AttachParams, ATTACH -> Status;
    DetachParams, DETACH -> Empty;
    StatusParams, STATUS -> Status;
    ListParams, LIST -> Page;
    EventsParams, EVENTS -> Events;
    InputParams, INPUT -> Accepted;
    ShareParams, SHARE -> Share;
    AnswerParams, ANSWER -> Answered;
    PingParams, PING -> Empty;
}
