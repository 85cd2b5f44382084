//! The settings that come from the CLI's own environment variables.

use std::collections::BTreeMap;
use std::path::Path;

use http::HeaderMap;

use crate::request::headers::parse_custom;
use crate::secret::Secrets;
use crate::upstream::connect::Connector;
use crate::upstream::origin::{ANTHROPIC, Origin};
use crate::upstream::proxy::Proxy;
use crate::upstream::tls;

/// Environment variables by name.
pub type Variables = BTreeMap<String, String>;

/// The settings of the access to the model's API.
#[derive(Debug)]
pub struct ModelAccess {
    /// The credential.
    pub secrets: Secrets,
    /// The operator's own headers.
    pub custom: HeaderMap,
    /// The connector to the API.
    pub connector: Connector,
}

impl ModelAccess {
    /// Reads the settings from environment variables. `ca` is a PEM file with further certificates.
    /// Blocks on the disk.
    ///
    /// # Errors
    /// One text for each mistake, for the operator. No text has a secret.
    pub fn new(variables: &Variables, ca: Option<&Path>) -> Result<Self, Vec<String>> {
        let mut mistakes = Vec::new();
        let set = |name: &str| {
            let value = variables.get(name).map(|value| value.trim());
            value.filter(|value| !value.is_empty())
        };
        let custom = set("ANTHROPIC_CUSTOM_HEADERS").map_or(Ok(HeaderMap::new()), parse_custom);
        let custom = custom.unwrap_or_else(|more| {
            mistakes.extend(more);
            HeaderMap::new()
        });
        let base = set("ANTHROPIC_BASE_URL").unwrap_or(ANTHROPIC);
        let origin = match Origin::parse(base) {
            Ok(origin) => origin,
            // The URL is not repeated, because it may have a password.
            Err(error) => {
                mistakes.push(format!("ANTHROPIC_BASE_URL: {error}"));
                return Err(mistakes);
            }
        };
        let mut tls = None;
        let mut proxy = None;
        if origin.is_tls() {
            match tls::settings(ca) {
                Ok(settings) => tls = Some(settings),
                Err(error) => mistakes.push(format!("--upstream-ca: {error}")),
            }
            match Proxy::find(variables, origin.host()) {
                Ok(found) => proxy = found,
                Err(mistake) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        Ok(Self {
            secrets: Secrets::new(variables),
            custom,
            connector: Connector::new(origin, tls, proxy),
        })
    }
}
