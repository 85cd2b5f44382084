//! Tracks the WebSocket frames in the received bytes. So the session knows the length and the end
//! of a message before tungstenite parses it, and can reserve memory for it before it is read.

/// How many received bytes of a connection tungstenite has been given so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ReadBytes {
    /// All bytes, including frame headers, pings, pongs and closes.
    pub(super) total: u64,
    /// The bytes that belong to the content of text and binary messages.
    pub(super) payload: u64,
}

/// The position in the stream of received WebSocket frames (RFC 6455, section 5.2). It covers the
/// bytes that tungstenite has been given.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    head: [u8; 14],
    /// How many bytes of the current frame's header have been handed over. 0 between frames and
    /// within a payload.
    head_read: usize,
    /// How many payload bytes of the current frame have not been handed over.
    payload: u64,
    is_control: bool,
    /// Whether the current frame is the last of its message (the FIN bit).
    ends_message: bool,
    /// Whether more frames of the same message must follow. A control frame may arrive between them
    /// and does not change this.
    in_message: bool,
}

impl FrameTracker {
    /// Returns whether the bytes so far end exactly at the end of a message. Then tungstenite holds
    /// no part of a message and can be replaced.
    pub(super) fn is_boundary(&self) -> bool {
        self.is_frame_start() && !self.in_message
    }

    /// Returns whether the next byte is the first one of a frame.
    pub(super) fn is_frame_start(&self) -> bool {
        self.head_read == 0 && self.payload == 0
    }

    /// Returns whether the current frame is a ping, a pong or a close. Such a frame has at most 125
    /// bytes of payload, so it needs no memory from the budget.
    pub(super) fn is_control(&self) -> bool {
        self.is_control
    }

    /// Returns whether the current frame is the last of its message. Then the rest of the message
    /// is as long as the rest of the frame.
    pub(super) fn ends_message(&self) -> bool {
        self.ends_message
    }

    /// Returns how many payload bytes of the current frame have not been handed over. 0 in a
    /// header.
    pub(super) fn payload(&self) -> u64 {
        self.payload
    }

    /// Returns the length of the current frame's header in bytes. Returns 2 until the first two
    /// bytes are known, because they determine the full length.
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

    /// Returns the most bytes that the next read may return, which is the rest of the frame's
    /// header or of its payload. So no read returns bytes of two frames.
    pub(super) fn next_limit(&self) -> usize {
        if self.payload > 0 {
            usize::try_from(self.payload).unwrap_or(usize::MAX)
        } else {
            self.head_bytes() - self.head_read
        }
    }

    /// Moves the position past `bytes`, which tungstenite is given now, and adds their number to
    /// `read`. They must not be more than [`Self::next_limit`] allows.
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
