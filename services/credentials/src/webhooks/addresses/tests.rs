use super::*;

#[test]
fn the_first_and_last_address_of_each_special_network_is_refused_and_its_neighbours_are_not() {
    // The network, its first and last address, and the public neighbours of both if they are.
    for (first, last, before, after) in [
        ("0.0.0.0", "0.255.255.255", None, Some("1.0.0.0")),
        (
            "10.0.0.0",
            "10.255.255.255",
            Some("9.255.255.255"),
            Some("11.0.0.0"),
        ),
        (
            "100.64.0.0",
            "100.127.255.255",
            Some("100.63.255.255"),
            Some("100.128.0.0"),
        ),
        (
            "127.0.0.0",
            "127.255.255.255",
            Some("126.255.255.255"),
            Some("128.0.0.0"),
        ),
        (
            "169.254.0.0",
            "169.254.255.255",
            Some("169.253.255.255"),
            Some("169.255.0.0"),
        ),
        (
            "172.16.0.0",
            "172.31.255.255",
            Some("172.15.255.255"),
            Some("172.32.0.0"),
        ),
        (
            "192.0.0.0",
            "192.0.0.255",
            Some("191.255.255.255"),
            Some("192.0.1.0"),
        ),
        (
            "192.0.2.0",
            "192.0.2.255",
            Some("192.0.1.255"),
            Some("192.0.3.0"),
        ),
        (
            "192.88.99.0",
            "192.88.99.255",
            Some("192.88.98.255"),
            Some("192.88.100.0"),
        ),
        (
            "192.168.0.0",
            "192.168.255.255",
            Some("192.167.255.255"),
            Some("192.169.0.0"),
        ),
        (
            "198.18.0.0",
            "198.19.255.255",
            Some("198.17.255.255"),
            Some("198.20.0.0"),
        ),
        (
            "198.51.100.0",
            "198.51.100.255",
            Some("198.51.99.255"),
            Some("198.51.101.0"),
        ),
        (
            "203.0.113.0",
            "203.0.113.255",
            Some("203.0.112.255"),
            Some("203.0.114.0"),
        ),
        (
            "224.0.0.0",
            "255.255.255.255",
            Some("223.255.255.255"),
            None,
        ),
        (
            "::",
            "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            None,
            Some("2000::"),
        ),
        (
            "2001::",
            "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
            Some("2000:ffff::"),
            Some("2001:200::"),
        ),
        (
            "2001:db8::",
            "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
            Some("2001:db7::"),
            Some("2001:db9::"),
        ),
        (
            "2002::",
            "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Some("2001:ffff::"),
            Some("2003::"),
        ),
        (
            "3fff::",
            "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
            Some("3ffe:ffff::"),
            Some("3fff:1000::"),
        ),
        (
            "4000::",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            Some("3fff:ffff::"),
            None,
        ),
    ] {
        for special in [first, last] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
        for public in [before, after].into_iter().flatten() {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }
}

#[test]
fn the_ipv6_forms_of_special_addresses_are_refused() {
    for special in [
        "::1",              // loopback
        "::",               // unspecified
        "::ffff:127.0.0.1", // IPv4-mapped
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1", // IPv4-compatible
        "::8.8.8.8",
        "64:ff9b::8.8.8.8", // NAT64
        "64:ff9b::7f00:1",
        "64:ff9b:1::a00:1", // local NAT64
        "100::1",           // discard
        "2001:0:7f00:1::",  // Teredo
        "2002:7f00:1::1",   // 6to4
        "fc00::1",          // unique local
        "fd12:3456::1",
        "fe80::1", // link-local
        "fec0::1", // site-local
        "ff02::1", // multicast
    ] {
        assert!(!is_public(special.parse().unwrap()), "{special}");
    }
    for public in [
        "::ffff:8.8.8.8",
        "2606:4700::1111",
        "2a00:1450::1",
        "8.8.8.8",
    ] {
        assert!(is_public(public.parse().unwrap()), "{public}");
    }
}
