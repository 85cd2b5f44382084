//! Tracking of the frames in the bytes that a WebSocket receives.

/// The number of bytes that were handed over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReadBytes {
    /// All bytes.
    pub(super) total: u64,
    /// Those that are payload of messages.
    pub(super) payload: u64,
}

/// The position in the frames up to which bytes were handed over (RFC 6455, section 5.2).
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    head: [u8; 14],
    /// Bytes of the head that were handed over.
    head_read: usize,
    /// Bytes of the payload that were not handed over yet.
    payload: u64,
    is_control: bool,
    /// Whether the frame is the last of its message.
    ends_message: bool,
    /// Whether more frames of the same message follow.
    in_message: bool,
}

impl FrameTracker {
    /// Whether only whole messages were handed over.
    pub(super) fn is_boundary(&self) -> bool {
        self.head_read == 0 && self.payload == 0 && !self.in_message
    }

    /// Whether the frame is a ping, a pong or a close.
    pub(super) fn is_control(&self) -> bool {
        self.is_control
    }

    /// Whether the frame is the last of its message.
    pub(super) fn ends_message(&self) -> bool {
        self.ends_message
    }

    /// Returns the bytes of the frame's payload that were not handed over yet.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Returns the length of the head in bytes, as far as its bytes so far show it.
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

    /// Returns the most bytes that may be handed over next: the rest of the head or of the payload.
    pub(super) fn next_limit(&self) -> usize {
        if self.payload > 0 {
            usize::try_from(self.payload).unwrap_or(usize::MAX)
        } else {
            self.head_bytes() - self.head_read
        }
    }

    /// Notes that these bytes, at most [`Self::next_limit`], were handed over, and adds them to
    /// `read`.
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
