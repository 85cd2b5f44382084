//! Judges at each ping whether the client of a session is alive. The bridge closes the session of a
//! dead, stuck or too slow client, so that it does not hold memory for long. Does no I/O and reads
//! no clock.

use super::frames::ReadBytes;

/// For how many ping intervals an unfinished message may hold a part of the memory budget for
/// incoming messages. Then its session is closed, even if the message progresses, because other
/// messages need the memory.
pub(super) const HOLDING_PINGS: u32 = 30;

/// The judgement of a session's client at the end of a ping interval. Any value but `Alive` ends
/// the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pulse {
    /// The client is alive, and the session sends it the next ping.
    Alive,
    /// The client sent no byte, not even a pong, for two ping intervals.
    Dead,
    /// The client read no byte for two ping intervals, although bytes wait for it.
    Stuck,
    /// A message of the client over 64 KiB took too long to arrive. Either no byte of it arrived,
    /// or it got no memory, for two ping intervals; or it is unfinished after 30 intervals.
    Starved,
}

/// The state of the connection at the end of a ping interval, from which the client is judged.
#[derive(Debug)]
pub(super) struct Interval {
    /// Whether bytes wait because the client does not read.
    pub(super) is_blocked: bool,
    /// The bytes that the kernel has accepted for sending since the connection began.
    pub(super) written: u64,
    /// The bytes received since the connection began.
    pub(super) read: ReadBytes,
    /// Whether an unfinished message of the client holds a part of the memory budget for incoming
    /// messages.
    pub(super) holds_budget: bool,
    /// Whether an unfinished message waits until that budget has room. The session does not read
    /// meanwhile, so a silence proves nothing.
    pub(super) waits_for_budget: bool,
    /// Whether the message waits although no other unfinished message holds any of the budget. Then
    /// unanswered executes and inputs hold it, and evicting a message would not help.
    pub(super) waits_alone: bool,
}

/// The client's signs of life. Each number counts consecutive ping intervals, and returns to 0 with
/// the first interval that does not fit.
#[derive(Debug)]
pub(super) struct Liveness {
    /// Whether a message, a ping or a pong has arrived in this interval.
    has_received: bool,
    /// Whether the session chose not to read in this interval. Signs of life may then lie unread in
    /// the connection, so the client counts as alive.
    skipped_reads: bool,
    /// Intervals without any sign of life.
    missed: u32,
    /// Intervals in which bytes waited and the client read none of them.
    stuck: u32,
    /// Intervals in which a message waited for memory although no other unfinished message held
    /// any.
    starved: u32,
    /// Intervals in which a message held memory of the budget and none of its bytes arrived.
    stalled: u32,
    /// Intervals in which a message held memory of the budget.
    holding: u32,
    /// The bytes sent until the end of the last interval.
    written: u64,
    /// The bytes received until the end of the last interval.
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
    /// Records a sign of life, such as a message, a ping or a pong.
    pub(super) fn note_received(&mut self) {
        self.has_received = true;
    }

    /// Records that the session chose not to read for now, so a silence of the client proves
    /// nothing.
    pub(super) fn note_skipped_read(&mut self) {
        self.skipped_reads = true;
    }

    /// Records that a message which held memory of the budget is complete. The next one gets its
    /// full time again.
    pub(super) fn note_complete(&mut self) {
        (self.holding, self.stalled) = (0, 0);
    }

    /// Ends a ping interval, and judges the client by the last intervals. A session ends after two
    /// bad intervals in a row, or when a message has held memory of the budget for 30.
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
