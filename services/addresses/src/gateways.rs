//! The IP addresses of the default gateways, read from `/proc`. In a container, these are addresses
//! of the host.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The flag of a route whose next hop is a gateway (`RTF_GATEWAY` in linux/route.h).
const VIA_GATEWAY: u32 = 2;

/// Returns the IPv4 and IPv6 addresses of the default gateways of this network namespace (proc(5)).
/// Empty if there is no default route or `/proc` cannot be read.
#[must_use]
pub fn default_gateways() -> Vec<IpAddr> {
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    let v4 = ipv4_gateways(&read("/proc/net/route"));
    let v6 = ipv6_gateways(&read("/proc/net/ipv6_route"));
    v4.into_iter().chain(v6).collect()
}

/// Parses the default gateways from the text of `/proc/net/route`. The columns are Iface,
/// Destination, Gateway, Flags and more; addresses are hexadecimal in the machine's byte order.
/// Lines of another form are skipped.
fn ipv4_gateways(routes: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let [_, "00000000", gateway, flags, ..] = columns[..] else {
            return None;
        };
        let via = u32::from_str_radix(flags, 16).ok()? & VIA_GATEWAY != 0;
        let gateway = u32::from_str_radix(gateway, 16).ok()?;
        via.then(|| IpAddr::V4(Ipv4Addr::from(gateway.to_ne_bytes())))
    };
    routes.lines().filter_map(gateway).collect()
}

/// Parses the default gateways from the text of `/proc/net/ipv6_route`. The columns are
/// destination, its prefix length, source, its prefix length, next hop, metric, references, uses,
/// flags, device. Lines of another form are skipped. So is a link-local gateway, because it has no
/// published port.
fn ipv6_gateways(routes: &str) -> Vec<IpAddr> {
    let gateway = |line: &str| {
        let columns: Vec<_> = line.split_ascii_whitespace().collect();
        let [destination, "00", _, _, gateway, _, _, _, flags, ..] = columns[..] else {
            return None;
        };
        let via = u32::from_str_radix(flags, 16).ok()? & VIA_GATEWAY != 0;
        let any = destination.bytes().all(|digit| digit == b'0');
        let gateway = Ipv6Addr::from(u128::from_str_radix(gateway, 16).ok()?);
        let good = via && any && !gateway.is_unicast_link_local();
        good.then_some(IpAddr::V6(gateway))
    };
    routes.lines().filter_map(gateway).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_route_of_a_container_names_its_gateway() {
        let [one, other] = [[172, 17, 0, 1], [10, 0, 0, 1]].map(u32::from_ne_bytes);
        let routes = format!(
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
             eth0\t00000000\t{one:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             eth0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n\
             eth1\t00000000\t{other:08X}\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
             tun0\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
             broken line\n"
        );
        let expected: Vec<IpAddr> = vec![[172, 17, 0, 1].into(), [10, 0, 0, 1].into()];
        assert_eq!(ipv4_gateways(&routes), expected);
        assert!(ipv4_gateways("").is_empty());
    }

    #[test]
    fn an_ipv6_default_route_names_its_gateway_unless_it_is_link_local() {
        let [any, lan] = [
            "0".repeat(32),
            "fd000000000000000000000000000000".to_owned(),
        ];
        let line = |destination: &str, length: &str, gateway: &str, flags: &str| {
            format!("{destination} {length} {any} 00 {gateway} 00000400 1 0 {flags} eth0\n")
        };
        let (good, local) = (
            "fd000000000000000000000000000001",
            "fe800000000000000000000000000001",
        );
        let routes = [
            line(&any, "00", good, "00000003"),
            line(&any, "00", local, "00000003"),
            line(&lan, "40", &any, "00000001"),
            line(&any, "00", &any, "00200200"),
        ];
        let expected: Vec<IpAddr> = vec!["fd00::1".parse().unwrap()];
        assert_eq!(ipv6_gateways(&routes.concat()), expected);
    }
}
