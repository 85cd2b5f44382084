//! `credentials`: holds the credential of the model's API, and forwards the requests of executions
//! to the API. It also signs and sends webhooks.

pub mod webhooks;
