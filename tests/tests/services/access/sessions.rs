//! WebSocket sessions with tokens: the rights of each, and their end with the token.

mod calls;
mod ends;
mod handshakes;
mod isolation;
mod mcp;
mod pages;
mod thousand;
