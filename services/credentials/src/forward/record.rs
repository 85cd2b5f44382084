//! The report of one forwarded request.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use grants::{Answer, Endpoint, Usage};
use http::{HeaderMap, StatusCode};
use tokio_util::sync::CancellationToken;

use super::upload::Upload;
use crate::prices::Prices;
use crate::reports::Reports;
use crate::table::OpenRequest;
use crate::usage::facts::Facts;
use crate::usage::limits::resets_at_ms;

/// The price list, and the queue of reports to claude-api.
#[derive(Debug)]
pub struct Ledger {
    /// The price list.
    pub prices: Prices,
    /// The reports to claude-api.
    pub reports: Reports,
}

/// The record of a forwarded request. Dropping it charges the cost to the grant, and reports the
/// request to claude-api, so that no end of a request is missed. A request whose body the client
/// did not complete is reported only if the API answered it or could not be reached.
///
/// A request to `/v1/messages` costs what its answer reports, with an estimate for what the answer
/// has not reported. It costs nothing before the API has the whole body, and after an error of the
/// API. While the request is open, the same cost counts toward the limit of the grant.
#[derive(Debug)]
pub struct Record {
    ledger: Arc<Ledger>,
    open: OpenRequest,
    endpoint: Endpoint,
    upload: Upload,
    started: Instant,
    status: Option<StatusCode>,
    first_byte_ms: Option<u64>,
    resets_at_ms: Option<u64>,
    facts: Facts,
    is_complete: bool,
    /// Whether the API could not be reached, or broke off before the head of its answer.
    has_failed: bool,
}

impl Record {
    /// Begins the record of a request that is forwarded now. `upload` is the progress of its body.
    #[must_use]
    pub fn new(ledger: Arc<Ledger>, open: OpenRequest, endpoint: Endpoint, upload: Upload) -> Self {
        Self {
            ledger,
            open,
            endpoint,
            upload,
            started: Instant::now(),
            status: None,
            first_byte_ms: None,
            resets_at_ms: None,
            facts: Facts::default(),
            is_complete: false,
            has_failed: false,
        }
    }

    /// Returns the token that is cancelled when the request must end.
    #[must_use]
    pub fn cut(&self) -> &CancellationToken {
        self.open.cut()
    }

    /// Records the head of the answer.
    pub fn head(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.status = Some(status);
        self.first_byte_ms = u64::try_from(self.started.elapsed().as_millis()).ok();
        self.resets_at_ms = resets_at_ms(status, headers, SystemTime::now());
        self.count(Facts::default());
    }

    /// Counts the cost of the request so far toward the limit of the grant. `reported` has the
    /// facts that the answer has reported.
    pub fn count(&mut self, reported: Facts) {
        let (_, cost_usd) = self.charged(reported);
        self.open.count(cost_usd);
    }

    /// Returns whether the whole body was forwarded.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.upload.is_whole()
    }

    /// Returns the facts that are charged, and their cost in US dollars.
    fn charged(&self, reported: Facts) -> (Facts, f64) {
        let has_cost = self.endpoint == Endpoint::Messages
            && match self.status {
                Some(status) => status.is_success(),
                None => self.upload.is_whole(),
            };
        if !has_cost {
            return (reported, 0.0);
        }
        let facts = self.upload.sent().complete(reported);
        let cost_usd = self.ledger.prices.cost_usd(&facts);
        (facts, cost_usd)
    }

    /// Ends the record with what the answer said. `is_complete` says whether its whole body
    /// arrived.
    pub fn end(mut self, facts: Facts, is_complete: bool) {
        self.facts = facts;
        self.is_complete = is_complete;
    }

    /// Ends the record of a request to an API that could not be reached, or that broke off before
    /// the head of its answer.
    pub fn fail(mut self) {
        self.has_failed = true;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if self.status.is_none() && !self.has_failed && !self.upload.is_whole() {
            return;
        }
        let reported = std::mem::take(&mut self.facts);
        let (facts, cost_usd) = self.charged(reported);
        let answer = Answer {
            execution_id: Some(self.open.execution_id().to_owned()),
            endpoint: self.endpoint,
            status: self.status.map(|status| status.as_u16()),
            complete: self.is_complete,
            first_byte_ms: self.first_byte_ms,
            resets_at_ms: self.resets_at_ms,
            usage: usage(&facts),
            error_type: facts.error_type,
            cost_usd,
            total_cost_usd: self.open.charge(cost_usd),
        };
        tracing::debug!(?answer, "a request has ended");
        self.ledger.reports.push(answer);
    }
}

fn usage(facts: &Facts) -> Usage {
    let counts = facts.counts;
    Usage {
        input_tokens: counts.input,
        output_tokens: counts.output,
        cache_read_tokens: counts.cache_read,
        cache_write_tokens: counts.cache_write,
    }
}
