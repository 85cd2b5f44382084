//! Tracks the WebSocket frames in received bytes, so that the session knows where a message ends
//! before tungstenite parses it.

/// How many bytes of a connection have been handed to tungstenite.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReadBytes {
    /// All bytes, frame heads and pings included.
    pub(super) total: u64,
    /// The bytes that are payload of messages.
    pub(super) payload: u64,
}

/// The position in the current frame up to which bytes have been handed to tungstenite (RFC 6455,
/// section 5.2).
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    head: [u8; 14],
    /// The bytes of the frame's head that have been handed over.
    head_read: usize,
    /// The bytes of the frame's payload that have not been handed over.
    payload: u64,
    is_control: bool,
    /// Whether the frame is the last of its message.
    ends_message: bool,
    /// Whether more frames of the same message follow. A control frame in between does not change
    /// this.
    in_message: bool,
}

impl FrameTracker {
    /// Whether all bytes so far form whole messages, so that tungstenite holds no part of one.
    pub(super) fn is_boundary(&self) -> bool {
        self.head_read == 0 && self.payload == 0 && !self.in_message
    }

    /// Whether the current frame is a ping, a pong or a close. Its bytes need no room in the
    /// budget.
    pub(super) fn is_control(&self) -> bool {
        self.is_control
    }

    /// Whether the current frame is the last of its message. Then its length is known.
    pub(super) fn ends_message(&self) -> bool {
        self.ends_message
    }

    /// Returns how many bytes of the current frame's payload have not been handed over.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Returns the length of the frame's head in bytes: 2 until its first two bytes show the full
    /// length.
    fn head_bytes(&self) -> usize {
        if self.head_read < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let length = match self.head[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    /// Returns the most bytes that one read may return: the rest of the frame's head or of its
    /// payload. So no read returns bytes of two frames.
    pub(super) fn next_limit(&self) -> usize {
        if self.payload > 0 {
            usize::try_from(self.payload).unwrap_or(usize::MAX)
        } else {
            self.head_bytes() - self.head_read
        }
    }

    /// Moves past `bytes`, which are handed over now, and adds them to `read`. At most
    /// [`Self::next_limit`] bytes.
    pub(super) fn advance(&mut self, bytes: &[u8], read: &mut ReadBytes) {
        read.total += bytes.len() as u64;
        if self.payload > 0 {
            if !self.is_control {
                read.payload += bytes.len() as u64;
            }
            self.payload -= bytes.len() as u64;
            return;
        }
        self.head[self.head_read..self.head_read + bytes.len()].copy_from_slice(bytes);
        self.head_read += bytes.len();
        if self.head_read < self.head_bytes() {
            return;
        }
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
        self.payload = match self.head[1] & 0x7F {
            126 => number(&self.head[2..4]),
            127 => number(&self.head[2..10]),
            short => u64::from(short),
        };
        let opcode = self.head[0] & 0x0F;
        self.is_control = opcode >= 8;
        self.ends_message = self.head[0] & 0x80 != 0;
        if !self.is_control {
            self.in_message = !self.ends_message;
        }
        self.head_read = 0;
    }
}
