//! `credentials`: holds the credential of the model's API, and forwards the requests of executions
//! to the API.
