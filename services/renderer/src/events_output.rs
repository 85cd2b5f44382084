//! The output of format `events`: stdout as it was, made valid UTF-8 and ended by a line feed.

use protocol::Patch;

/// Takes the place of an invalid sequence.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// Neighbouring patches are joined up to this many original bytes, so that garbage does not make
/// one patch per byte (32 KiB).
const LONGEST_PATCH_BYTES: usize = 32 << 10;

/// Turns stdout into output, however it was chunked.
#[derive(Debug, Default)]
pub struct EventsOutput {
    /// Bytes of output so far.
    offset: u64,
    /// The beginning of a character whose rest has not come: at most three bytes.
    held: Vec<u8>,
    /// The output ends inside of a line: a line feed is missing.
    mid_line: bool,
}

impl EventsOutput {
    /// For an execution without output yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the output of the next bytes of stdout to `out` and what must be undone to
    /// `patches`, in order. A character that the chunk cuts is held back until its rest comes.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>, patches: &mut Vec<Patch>) {
        let mut rest = self.complete_held(chunk, out, patches);
        while !rest.is_empty() {
            let error = match std::str::from_utf8(rest) {
                Ok(_) => return self.copy(rest, out),
                Err(error) => error,
            };
            let (valid, invalid) = rest.split_at(error.valid_up_to());
            self.copy(valid, out);
            let Some(len) = error.error_len() else {
                self.held.extend_from_slice(invalid);
                return;
            };
            self.replace(&invalid[..len], out, patches);
            rest = &invalid[len..];
        }
    }

    /// Stdout has ended: what was held back is no character, and a missing last line feed is added.
    pub fn finish(&mut self, out: &mut Vec<u8>, patches: &mut Vec<Patch>) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.replace(&held, out, patches);
        }
        if self.mid_line {
            patches.push(Patch {
                offset: self.offset,
                len: 1,
                original: Vec::new(),
            });
            self.copy(b"\n", out);
        }
    }

    /// Gives what was held back the bytes it needs to be decided; the rest of the chunk is
    /// answered.
    fn complete_held<'c>(
        &mut self,
        mut chunk: &'c [u8],
        out: &mut Vec<u8>,
        patches: &mut Vec<Patch>,
    ) -> &'c [u8] {
        while let (false, [next, rest @ ..]) = (self.held.is_empty(), chunk) {
            self.held.push(*next);
            match std::str::from_utf8(&self.held) {
                Ok(_) => {
                    let held = std::mem::take(&mut self.held);
                    self.copy(&held, out);
                }
                Err(error) if error.error_len().is_some() => {
                    // The beginning was fine and the next byte does not go on with it: that one is
                    // looked at anew.
                    self.held.pop();
                    let held = std::mem::take(&mut self.held);
                    self.replace(&held, out, patches);
                    continue;
                }
                Err(_) => {}
            }
            chunk = rest;
        }
        chunk
    }

    fn copy(&mut self, valid: &[u8], out: &mut Vec<u8>) {
        let Some(last) = valid.last() else { return };
        self.mid_line = *last != b'\n';
        self.offset += valid.len() as u64;
        out.extend_from_slice(valid);
    }

    fn replace(&mut self, invalid: &[u8], out: &mut Vec<u8>, patches: &mut Vec<Patch>) {
        let offset = self.offset;
        self.copy(REPLACEMENT, out);
        const LEN: u32 = REPLACEMENT.len() as u32;
        match patches.last_mut() {
            Some(last)
                if last.end() == offset
                    && last.original.len() + invalid.len() <= LONGEST_PATCH_BYTES =>
            {
                last.len += LEN;
                last.original.extend_from_slice(invalid);
            }
            _ => patches.push(Patch {
                offset,
                len: LEN,
                original: invalid.to_vec(),
            }),
        }
    }
}
