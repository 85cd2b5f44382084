//! Several principals side by side: each has executions, lanes, a queue and burned ids of its own.

mod burns;
mod fairness;
mod isolation;
mod queues;
mod without_tokens;
