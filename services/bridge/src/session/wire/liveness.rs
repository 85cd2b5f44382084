//! Whether the peer of a session is alive, judged once every ping interval. Pure.

/// A message that holds a part of the inbound budget must be complete within so many ping
/// intervals.
pub(super) const HOLDING_PINGS: u32 = 30;

/// The judgement of a peer by the last ping intervals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// The peer is alive.
    Alive,
    /// Two pings passed without a sign of life.
    Dead,
    /// The peer took no byte for two pings.
    Stuck,
    /// A large message found no room in the inbound budget for two pings, made no progress for two
    /// pings, or has held a part of the budget for too long.
    Starved,
}

/// The state of the connection at the end of a ping interval.
#[derive(Debug)]
pub(super) struct Interval {
    /// Whether bytes wait for the peer to read.
    pub(super) is_blocked: bool,
    /// Bytes that the kernel took so far.
    pub(super) written: u64,
    /// Bytes that were read so far, and those of them that are payload of messages.
    pub(super) read: (u64, u64),
    /// Whether an unfinished message holds a part of the inbound budget.
    pub(super) holds_budget: bool,
    /// Whether an unfinished message waits for room in the inbound budget.
    pub(super) waits_for_budget: bool,
    /// Whether no other unfinished message holds that room.
    pub(super) waits_for_nobody: bool,
}

/// The signs of life of one peer. Counts are in ping intervals without interruption.
#[derive(Debug)]
pub(super) struct Liveness {
    /// Whether a message arrived in this interval.
    heard: bool,
    /// Whether the session chose not to read in this interval: the peer's signs of life may be
    /// there unseen.
    unread: bool,
    /// Intervals without a sign of life.
    missed: u32,
    /// Intervals in which the peer took no byte.
    stuck: u32,
    /// Intervals in which a message waited for room that no other message held.
    starved: u32,
    /// Intervals in which a message held a part of the budget and made no progress.
    stalled: u32,
    /// Intervals in which a message held a part of the budget.
    holding: u32,
    written: u64,
    read: (u64, u64),
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            // The handshake was a sign of life.
            heard: true,
            unread: false,
            missed: 0,
            stuck: 0,
            starved: 0,
            stalled: 0,
            holding: 0,
            written: 0,
            read: (0, 0),
        }
    }
}

impl Liveness {
    /// Notes that a message, a ping or a pong arrived.
    pub(super) fn note_heard(&mut self) {
        self.heard = true;
    }

    /// Notes that the session does not read for now.
    pub(super) fn note_unread(&mut self) {
        self.unread = true;
    }

    /// Notes that a message that held a part of the budget is complete.
    pub(super) fn note_complete(&mut self) {
        (self.holding, self.stalled) = (0, 0);
    }

    /// Ends a ping interval, and returns how the last ones went.
    pub(super) fn end_interval(&mut self, interval: &Interval) -> Pulse {
        let &Interval {
            is_blocked,
            written,
            read,
            holds_budget,
            waits_for_budget,
            waits_for_nobody,
        } = interval;
        let count = |intervals: u32, continues: bool| if continues { intervals + 1 } else { 0 };
        let took_bytes = written != self.written;
        let sent_bytes = read.0 != self.read.0;
        let made_progress = read.1 != self.read.1;
        (self.written, self.read) = (written, read);
        let heard = std::mem::take(&mut self.heard);
        let unread = std::mem::take(&mut self.unread) || waits_for_budget;
        // A pong waits behind what the peer has not read yet: taking bytes of a full pipe is a sign
        // of life.
        let is_alive = heard || sent_bytes || unread || (is_blocked && took_bytes);
        self.missed = count(self.missed, !is_alive);
        self.stuck = count(self.stuck, is_blocked && !took_bytes);
        self.holding = count(self.holding, holds_budget);
        self.stalled = count(self.stalled, holds_budget && !made_progress && !unread);
        // Other unfinished messages are evicted in time; executes that await claude-api may hold
        // their bytes for long.
        self.starved = count(self.starved, waits_for_budget && waits_for_nobody);
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
        read: (0, 0),
        holds_budget: false,
        waits_for_budget: false,
        waits_for_nobody: false,
    };

    /// The pulses of a peer in the same state for several intervals after the first one.
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
    fn bytes_of_a_full_pipe_and_bytes_of_a_message_are_signs_of_life() {
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
                read: (n, n),
                ..QUIET
            };
            assert_eq!(liveness.end_interval(&received), Pulse::Alive);
        }
    }

    #[test]
    fn a_message_that_waits_for_others_starves_only_when_nobody_holds_its_room() {
        let mut waits = Interval {
            waits_for_budget: true,
            ..QUIET
        };
        assert_eq!(pulses(&waits), [Pulse::Alive, Pulse::Alive]);
        waits.waits_for_nobody = true;
        assert_eq!(pulses(&waits)[0], Pulse::Starved);
    }

    #[test]
    fn a_session_that_is_not_read_is_not_dead() {
        let mut liveness = Liveness::default();
        for _ in 0..10 {
            liveness.note_unread();
            assert_eq!(liveness.end_interval(&QUIET), Pulse::Alive);
        }
    }
}
