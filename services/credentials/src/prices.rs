//! The price list, from which the cost of an answer is computed.
//!
//! Source: <https://platform.claude.com/docs/en/about-claude/pricing>, read on 2026-11-30. The
//! prices are those of the API itself, in US dollars. The operator can replace the list
//! (`--prices`). A model that is not on the list has the highest price of each kind, so that a cost
//! limit holds for it too.

use std::path::Path;

use serde::Deserialize;

use crate::usage::facts::Facts;

/// A price list. The first entry whose prefix begins the name of a model applies to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices(Vec<Price>);

/// The price of all models whose names have one prefix, in US dollars for a million tokens.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Price {
    /// The prefix of the models' names.
    model: String,
    /// Tokens of the request.
    input: f64,
    /// Tokens of the answer.
    output: f64,
    /// Tokens that are read from the cache.
    cache_read: f64,
    /// Tokens that are written to the cache for five minutes.
    cache_write_5m: f64,
    /// Tokens that are written to the cache for an hour.
    cache_write_1h: f64,
}

/// The content of a price list's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    price: Vec<Price>,
}

/// Prefixes of names, then input, output and cache-read prices in US dollars for a million tokens.
/// A write to the cache costs 1.25 times the input for five minutes, and 2 times for an hour. A
/// longer prefix precedes a shorter one that begins it.
const LIST: [(&str, f64, f64, f64); 19] = [
    ("claude-fable-5-1", 10.0, 50.0, 0.25),
    ("claude-mythos-5-1", 10.0, 50.0, 0.25),
    ("claude-fable-5", 10.0, 50.0, 1.0),
    ("claude-mythos-5", 10.0, 50.0, 1.0),
    ("claude-opus-5-5", 4.0, 20.0, 0.2),
    ("claude-opus-5", 5.0, 25.0, 0.5),
    ("claude-opus-4-5", 5.0, 25.0, 0.5),
    ("claude-opus-4-6", 5.0, 25.0, 0.5),
    ("claude-opus-4-7", 5.0, 25.0, 0.5),
    ("claude-opus-4-8", 5.0, 25.0, 0.5),
    ("claude-opus-4", 15.0, 75.0, 1.5),
    ("claude-3-opus", 15.0, 75.0, 1.5),
    ("claude-sonnet-5", 2.0, 10.0, 0.2),
    ("claude-sonnet-4", 3.0, 15.0, 0.3),
    ("claude-3-7-sonnet", 3.0, 15.0, 0.3),
    ("claude-3-5-sonnet", 3.0, 15.0, 0.3),
    ("claude-haiku-4-5", 1.0, 5.0, 0.1),
    ("claude-3-5-haiku", 0.8, 4.0, 0.08),
    ("claude-3-haiku", 0.25, 1.25, 0.03),
];
/// The price of one search of the web, in US dollars: 10 for a thousand.
const WEB_SEARCH: f64 = 0.01;
/// The factor of fast mode. The fast mode of Opus 5 costs 10 and 50 in place of 5 and 25.
const FAST: f64 = 2.0;
/// The number of tokens that a price is for.
const MILLION: f64 = 1e6;

impl Default for Prices {
    /// The built-in list.
    fn default() -> Self {
        let prices = LIST.map(|(model, input, output, cache_read)| Price {
            model: model.to_owned(),
            input,
            output,
            cache_read,
            cache_write_5m: input * 1.25,
            cache_write_1h: input * 2.0,
        });
        Self(prices.into())
    }
}

impl Prices {
    /// Reads a list from a TOML file: blocks `[[price]]` with `model` (the prefix of the names),
    /// `input`, `output`, `cache_read`, `cache_write_5m` and `cache_write_1h`.
    ///
    /// # Errors
    /// The file cannot be read, is not such a list, or has a negative price. The text says which.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
        let File { price } = toml::from_str(&text).map_err(|error| error.message().to_owned())?;
        let is_bad = |price: &&Price| !price.all().iter().all(|one| one.is_finite() && *one >= 0.0);
        if let Some(bad) = price.iter().find(is_bad) {
            return Err(format!(
                "the price of {:?} is negative or not a number",
                bad.model
            ));
        }
        if price.is_empty() {
            return Err("it has no block [[price]]".to_owned());
        }
        Ok(Self(price))
    }

    /// Returns the cost of an answer in US dollars.
    #[must_use]
    pub fn cost_usd(&self, facts: &Facts) -> f64 {
        let counts = facts.counts;
        let price = self.price_of(facts.model.as_deref().unwrap_or_default());
        let long = counts.cache_write_1h.min(counts.cache_write);
        let parts = [
            (counts.input, price.input),
            (counts.output, price.output),
            (counts.cache_read, price.cache_read),
            (counts.cache_write - long, price.cache_write_5m),
            (long, price.cache_write_1h),
        ];
        let tokens: f64 = parts
            .iter()
            .map(|(count, price)| number(*count) * price)
            .sum();
        let factor = if facts.is_fast { FAST } else { 1.0 };
        tokens / MILLION * factor + number(counts.web_searches) * WEB_SEARCH
    }

    /// Returns the price of a model, or the highest price of each kind.
    fn price_of(&self, model: &str) -> Price {
        let listed = self.0.iter().find(|price| model.starts_with(&price.model));
        let highest = |part: fn(&Price) -> f64| self.0.iter().map(part).fold(0.0, f64::max);
        listed.cloned().unwrap_or_else(|| Price {
            model: String::new(),
            input: highest(|price| price.input),
            output: highest(|price| price.output),
            cache_read: highest(|price| price.cache_read),
            cache_write_5m: highest(|price| price.cache_write_5m),
            cache_write_1h: highest(|price| price.cache_write_1h),
        })
    }
}

impl Price {
    fn all(&self) -> [f64; 5] {
        let Self {
            model: _,
            input,
            output,
            cache_read,
            cache_write_5m,
            cache_write_1h,
        } = self;
        [
            *input,
            *output,
            *cache_read,
            *cache_write_5m,
            *cache_write_1h,
        ]
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counts of tokens are far below 2^52"
)]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests;
