//! The IP addresses that a service must recognise, and the limits that apply to each peer. The
//! addresses are its own, its gateways', and those of trusted proxies and of bridges.
//!
//! - [`OwnAddresses`]: the addresses of this container or machine.
//! - [`default_gateways`]: the addresses of the host, as a container sees them.
//! - [`HostAddresses`]: the addresses that a host name resolves to.
//! - [`TrustedProxies`]: the proxies whose `X-Forwarded-For` is believed.
//! - [`ExemptPeers`]: the peers to which the limits for each peer do not apply.
//! - [`FailedAttempts`] and [`AuditLines`]: two of these limits. [`PeerKey`] is what they count.

mod attempts;
mod audit_lines;
mod exempt;
mod forwarded_for;
mod gateways;
mod host_addresses;
mod own;
mod peer_counts;
mod peer_key;
mod proxy_list;
mod trusted_proxies;

pub use attempts::{FailedAttempts, RetryAfter};
pub use audit_lines::{AuditLines, OmittedLines};
pub use exempt::ExemptPeers;
pub use forwarded_for::BadForwardedFor;
pub use gateways::default_gateways;
pub use host_addresses::HostAddresses;
pub use own::OwnAddresses;
pub use peer_key::PeerKey;
pub use proxy_list::{BadProxy, ProxyList};
pub use trusted_proxies::{Route, TrustedProxies};
