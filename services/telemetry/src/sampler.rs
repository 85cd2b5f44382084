//! The choice of the traces that are recorded. The program that begins a trace chooses once. All
//! other programs follow the flag `sampled` of the context that they receive.

/// Records a fraction of the traces that this service begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Sampler {
    /// A trace is recorded if the last 63 bits of its id are below this number.
    bound: u64,
}

impl Sampler {
    /// Creates a sampler that records this fraction of the traces, from 0 to 1. A value outside of
    /// that range is replaced by the nearest one in it.
    pub(crate) fn new(ratio: f64) -> Self {
        let all = (1_u64 << 63) as f64;
        // The conversion saturates.
        let bound = (ratio.clamp(0.0, 1.0) * all) as u64;
        Self { bound }
    }

    /// Returns whether the trace with this id is recorded. Two services with the same ratio make
    /// the same choice (OpenTelemetry, "TraceIdRatioBased").
    pub(crate) fn records(self, trace_id: [u8; 16]) -> bool {
        let mut last = [0; 8];
        last.copy_from_slice(&trace_id[8..]);
        u64::from_be_bytes(last) >> 1 < self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_fraction_of_recorded_traces() {
        let recorded = |ratio: f64| {
            let sampler = Sampler::new(ratio);
            let ids = (0..1000_u64).map(|n| {
                let mut id = [1; 16];
                id[8..].copy_from_slice(&(n << 54 | n).to_be_bytes());
                id
            });
            ids.filter(|id| sampler.records(*id)).count()
        };
        assert_eq!(recorded(0.0), 0);
        assert_eq!(recorded(1.0), 1000);
        assert_eq!(recorded(7.0), 1000);
        assert!((240..=260).contains(&recorded(0.25)), "{}", recorded(0.25));
    }
}
