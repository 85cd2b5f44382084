//! The name and the result type of each method.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::execute::ExecuteParams;
use super::params::{
    AttachParams, ControlParams, DetachParams, EventsParams, InputParams, ListParams, PingParams,
    StatusParams,
};
use super::results::{Accepted, Empty};
use crate::rpc::method;
use crate::{Events, Page, Status};

/// The parameters of a request, with the name of its method and the type of its result:
/// docs/protocol.md, "Requests".
pub trait Method: Serialize + DeserializeOwned {
    /// The name of the method.
    const NAME: &'static str;
    /// The result of the method.
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
    PingParams, PING -> Empty;
}
