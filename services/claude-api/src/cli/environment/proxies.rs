//! The proxy settings of the CLI, which programs read under two names each.

use std::collections::BTreeMap;

use super::names::{NO_PROXY, PROXIES};

/// Hosts that are never reached through a proxy: this machine, and the services of compose.yaml.
/// They are added to `NO_PROXY` when a proxy is set.
const INNER_HOSTS: [&str; 5] = ["localhost", "127.0.0.1", "::1", "claude-api", "bridge"];

/// Sets the upper-case and the lower-case name of each proxy setting to the same value. If a proxy
/// is set, adds the inner hosts to the list of hosts without a proxy.
pub(super) fn align_proxies(vars: &mut BTreeMap<String, String>) {
    let mut proxied = false;
    for (upper, lower) in PROXIES {
        let set = |name: &str| vars.get(name).filter(|value| !value.is_empty());
        let Some(value) = set(lower).or_else(|| set(upper)).cloned() else {
            continue;
        };
        proxied = true;
        vars.insert(upper.to_owned(), value.clone());
        vars.insert(lower.to_owned(), value);
    }
    let (upper, lower) = NO_PROXY;
    let mut hosts: Vec<String> = Vec::new();
    let mut add = |host: &str| {
        let host = host.trim();
        if !(host.is_empty() || hosts.iter().any(|known| known == host)) {
            hosts.push(host.to_owned());
        }
    };
    for name in [lower, upper] {
        let list = vars.get(name).map_or("", String::as_str);
        list.split(',').for_each(&mut add);
    }
    if proxied {
        INNER_HOSTS.into_iter().for_each(&mut add);
        let base = vars.get("ANTHROPIC_BASE_URL");
        if let Some(host) = base.and_then(|url| inner_host(url)) {
            add(&host);
        }
    }
    if !hosts.is_empty() {
        let list = hosts.join(",");
        vars.insert(upper.to_owned(), list.clone());
        vars.insert(lower.to_owned(), list);
    }
}

/// Returns the host of a URL if a proxy could not reach that host: a name without a dot, as
/// containers have, or a loopback address. `None` for any other host, and for a malformed URL.
fn inner_host(url: &str) -> Option<String> {
    let uri: http::Uri = url.parse().ok()?;
    let host = uri.host()?.trim_matches(['[', ']']);
    let is_inner = host
        .parse::<std::net::IpAddr>()
        .map_or(!host.contains('.'), |address| address.is_loopback());
    is_inner.then(|| host.to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::Environment;
    use super::*;

    fn environment(vars: &[(&str, &str)]) -> Environment {
        let vars = vars.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        Environment::new(vars, &[])
    }

    #[test]
    fn both_names_of_a_proxy_have_one_value_and_inner_hosts_have_no_proxy() {
        let both = |vars: &[(&str, &str)], client: &[(&str, &str)], name: &str| {
            let client = client
                .iter()
                .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
            let all: BTreeMap<_, _> = environment(vars)
                .for_execution(&client.collect(), None)
                .into_iter()
                .collect();
            let upper = all.get(name).cloned();
            assert_eq!(all.get(&name.to_lowercase()).cloned(), upper, "{name}");
            upper
        };
        let proxy = Some("http://proxy:3128".to_owned());
        for name in ["HTTPS_PROXY", "https_proxy"] {
            let vars = [(name, "http://proxy:3128")];
            assert_eq!(both(&vars, &[], "HTTPS_PROXY"), proxy, "{name}");
        }
        assert_eq!(
            both(&[], &[("http_proxy", "http://proxy:3128")], "HTTP_PROXY"),
            proxy
        );
        // The variables that Docker's client configuration and compose.demo.yaml set together.
        let vars = [
            ("http_proxy", "http://proxy:3128"),
            ("no_proxy", ".corp, 10.0.0.1"),
            ("NO_PROXY", "127.0.0.1"),
            ("ANTHROPIC_BASE_URL", "http://scripted-model:8004"),
        ];
        let list = both(&vars, &[], "NO_PROXY").expect("a list");
        assert_eq!(
            list,
            ".corp,10.0.0.1,127.0.0.1,localhost,::1,claude-api,bridge,scripted-model"
        );
        let outer = [
            ("http_proxy", "http://proxy:3128"),
            ("ANTHROPIC_BASE_URL", "https://gateway.example/v1"),
        ];
        let list = both(&outer, &[], "NO_PROXY").expect("a list");
        assert!(!list.contains("gateway"), "{list}");
        assert_eq!(both(&[], &[], "NO_PROXY"), None, "no proxy, no exception");
        assert_eq!(inner_host("http://[::1]:8004").as_deref(), Some("::1"));
    }
}
