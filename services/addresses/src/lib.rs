//! The IP addresses that a service must recognise: its own, its gateways', those of trusted proxies
//! and of bridges. Also the limits that apply to each peer.
//!
//! - [`OwnAddresses`]: the addresses of this container or machine.
//! - [`default_gateways`]: the addresses of the host, as a container sees them.
//! - [`HostAddresses`]: the addresses that a host name resolves to.
//! - [`TrustedProxies`]: the proxies whose `X-Forwarded-For` is believed.

mod forwarded_for;
mod gateways;
mod host_addresses;
mod own;
mod proxy_list;
mod trusted_proxies;

pub use forwarded_for::BadForwardedFor;
pub use gateways::default_gateways;
pub use host_addresses::HostAddresses;
pub use own::OwnAddresses;
pub use proxy_list::{BadProxy, ProxyList};
pub use trusted_proxies::{Route, TrustedProxies};
