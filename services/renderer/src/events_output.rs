//! The output of format `events`, which is the CLI's stdout made valid UTF-8 and ended by a line
//! feed.

use protocol::Patch;

/// The text that replaces bytes which are not valid UTF-8: U+FFFD, the replacement character.
const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

/// The most original bytes that one patch records (32 KiB). Neighbouring patches are joined up to
/// this size, so that binary data does not need one patch per byte.
const LONGEST_PATCH_BYTES: usize = 32 << 10;

/// Turns the CLI's stdout into valid UTF-8, for the output format `events`. Records each changed
/// part as a [`Patch`], with which stdout can be restored. The result does not depend on how stdout
/// is cut into chunks.
#[derive(Debug, Default)]
pub struct EventsOutput {
    /// The length of the output so far, in bytes.
    offset: u64,
    /// The first bytes of a character whose other bytes have not arrived yet, at most three.
    held: Vec<u8>,
    /// Whether the output ends inside a line. A line feed is then added at the end of stdout.
    mid_line: bool,
}

impl EventsOutput {
    /// Creates the converter for a new run, of which no stdout was read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Converts the next bytes of stdout. Appends the output to `out`, and a patch for each changed
    /// part to `patches`, in order. An incomplete character at the end of `chunk` is held until its
    /// other bytes arrive. Invalid bytes become U+FFFD.
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

    /// Converts the end of stdout. Replaces an incomplete character by U+FFFD, and adds a line feed
    /// if the last line has none. Each change gets a patch.
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

    /// Completes a held character with the first bytes of `chunk`, or replaces it if they do not
    /// continue it. Returns the rest of the chunk.
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
                    // The next byte does not continue the held character, so process that byte
                    // separately.
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

    /// Appends valid UTF-8 to the output.
    fn copy(&mut self, valid: &[u8], out: &mut Vec<u8>) {
        let Some(last) = valid.last() else { return };
        self.mid_line = *last != b'\n';
        self.offset += valid.len() as u64;
        out.extend_from_slice(valid);
    }

    /// Appends U+FFFD to the output in place of the bytes `invalid`, and records them in a patch.
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
