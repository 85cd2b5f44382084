//! Judges at each ping whether the peer of a session is alive, so that a dead, stuck or too slow
//! peer does not hold memory. Pure.

use super::frames::ReadBytes;

/// How many ping intervals an unfinished message may hold a part of the inbound budget. Then its
/// session is closed.
pub(super) const HOLDING_PINGS: u32 = 30;

/// The judgement of a session's peer, from the last ping intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// The peer is alive, and gets the next ping.
    Alive,
    /// The peer sent nothing for two ping intervals.
    Dead,
    /// The peer read no byte for two ping intervals, although bytes wait for it.
    Stuck,
    /// A message of the peer over 64 KiB does not progress: it found no room in the inbound budget
    /// or no byte arrived for two ping intervals, or it has held room for 30.
    Starved,
}

/// The state of the connection when a ping interval ends.
#[derive(Debug)]
pub(super) struct Interval {
    /// Whether bytes wait because the peer does not read.
    pub(super) is_blocked: bool,
    /// The bytes that the kernel has accepted for sending since the start of the connection.
    pub(super) written: u64,
    /// The bytes received since the start of the connection.
    pub(super) read: ReadBytes,
    /// Whether an unfinished message holds a part of the inbound budget.
    pub(super) holds_budget: bool,
    /// Whether an unfinished message waits until the inbound budget has room, so the session is not
    /// read.
    pub(super) waits_for_budget: bool,
    /// Whether it waits although no other unfinished message holds any room. Then executes that
    /// claude-api has not answered hold it, and no eviction helps.
    pub(super) waits_alone: bool,
}

/// The signs of life of one peer. Each number counts consecutive ping intervals.
#[derive(Debug)]
pub(super) struct Liveness {
    /// Whether a message, a ping or a pong arrived in this interval.
    has_received: bool,
    /// Whether the session chose not to read in this interval. Signs of life may then have arrived
    /// unread, so the peer counts as alive.
    skipped_reads: bool,
    /// Intervals without a sign of life.
    missed: u32,
    /// Intervals in which the peer read no byte.
    stuck: u32,
    /// Intervals in which a message waited for memory that no other unfinished message held.
    starved: u32,
    /// Intervals in which a message held a part of the budget and made no progress.
    stalled: u32,
    /// Intervals in which a message held a part of the budget.
    holding: u32,
    written: u64,
    read: ReadBytes,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            // The handshake was a sign of life.
            has_received: true,
            skipped_reads: false,
            missed: 0,
            stuck: 0,
            starved: 0,
            stalled: 0,
            holding: 0,
            written: 0,
            read: ReadBytes::default(),
        }
    }
}

impl Liveness {
    /// Records a sign of life: a message, a ping or a pong arrived.
    pub(super) fn note_received(&mut self) {
        self.has_received = true;
    }

    /// Records that the session does not read now, so a silence of the peer proves nothing.
    pub(super) fn note_skipped_read(&mut self) {
        self.skipped_reads = true;
    }

    /// Records the end of a message that held a part of the inbound budget.
    pub(super) fn note_complete(&mut self) {
        (self.holding, self.stalled) = (0, 0);
    }

    /// Ends a ping interval, and judges the peer by the last ones. Two bad intervals in a row end a
    /// session.
    pub(super) fn end_interval(&mut self, interval: &Interval) -> Pulse {
        let &Interval {
            is_blocked,
            written,
            read,
            holds_budget,
            waits_for_budget,
            waits_alone,
        } = interval;
        let count = |intervals: u32, continues: bool| if continues { intervals + 1 } else { 0 };
        let took_bytes = written != self.written;
        let sent_bytes = read.total != self.read.total;
        let made_progress = read.payload != self.read.payload;
        (self.written, self.read) = (written, read);
        let has_received = std::mem::take(&mut self.has_received);
        let skipped_reads = std::mem::take(&mut self.skipped_reads) || waits_for_budget;
        // Our ping waits in a full pipe until the peer has read the bytes before it, so reading
        // them is a sign of life.
        let is_alive = has_received || sent_bytes || skipped_reads || (is_blocked && took_bytes);
        self.missed = count(self.missed, !is_alive);
        self.stuck = count(self.stuck, is_blocked && !took_bytes);
        self.holding = count(self.holding, holds_budget);
        self.stalled = count(
            self.stalled,
            holds_budget && !made_progress && !skipped_reads,
        );
        // Other unfinished messages are evicted in time, but executes that wait for claude-api may
        // hold their bytes for long.
        self.starved = count(self.starved, waits_for_budget && waits_alone);
        if self.stuck >= 2 {
            Pulse::Stuck
        } else if self.starved >= 2 || self.stalled >= 2 || self.holding >= HOLDING_PINGS {
            Pulse::Starved
        } else if self.missed >= 2 {
            Pulse::Dead
        } else {
            Pulse::Alive
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Interval = Interval {
        is_blocked: false,
        written: 0,
        read: ReadBytes {
            total: 0,
            payload: 0,
        },
        holds_budget: false,
        waits_for_budget: false,
        waits_alone: false,
    };

    /// Returns the pulses of a peer for two intervals in the same state, after the first one.
    fn pulses(interval: &Interval) -> [Pulse; 2] {
        let mut liveness = Liveness::default();
        assert_eq!(liveness.end_interval(interval), Pulse::Alive);
        [(); 2].map(|()| liveness.end_interval(interval))
    }

    #[test]
    fn a_silent_peer_is_dead_after_two_intervals_and_a_blocked_one_is_stuck() {
        assert_eq!(pulses(&QUIET), [Pulse::Alive, Pulse::Dead]);
        let blocked = Interval {
            is_blocked: true,
            ..QUIET
        };
        assert_eq!(pulses(&blocked)[0], Pulse::Stuck);
    }

    #[test]
    fn reading_from_a_full_pipe_and_sending_bytes_are_signs_of_life() {
        let mut liveness = Liveness::default();
        for n in 1..10 {
            let taken = Interval {
                is_blocked: true,
                written: n,
                ..QUIET
            };
            assert_eq!(liveness.end_interval(&taken), Pulse::Alive);
        }
        let mut liveness = Liveness::default();
        for n in 1..10 {
            let received = Interval {
                read: ReadBytes {
                    total: n,
                    payload: n,
                },
                ..QUIET
            };
            assert_eq!(liveness.end_interval(&received), Pulse::Alive);
        }
    }

    #[test]
    fn a_waiting_message_starves_only_when_no_other_message_holds_room() {
        let mut waits = Interval {
            waits_for_budget: true,
            ..QUIET
        };
        assert_eq!(pulses(&waits), [Pulse::Alive, Pulse::Alive]);
        waits.waits_alone = true;
        assert_eq!(pulses(&waits)[0], Pulse::Starved);
    }

    #[test]
    fn a_session_that_is_not_read_is_not_dead() {
        let mut liveness = Liveness::default();
        for _ in 0..10 {
            liveness.note_skipped_read();
            assert_eq!(liveness.end_interval(&QUIET), Pulse::Alive);
        }
    }
}
