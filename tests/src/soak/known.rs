//! The bytes of one output from several viewers, in any order: all viewers must receive the same
//! bytes. For output that is not known beforehand (event lines have random ids).

/// The known bytes so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    bytes: Vec<u8>,
    /// Beside each byte: whether it is known.
    seen: Vec<bool>,
}

impl Known {
    /// Returns the bytes from the first one on, up to an unknown one.
    pub(super) fn beginning(&self) -> &[u8] {
        let end = self.seen.iter().position(|seen| !seen);
        &self.bytes[..end.unwrap_or(self.bytes.len())]
    }

    /// Adds the bytes that a viewer received at an offset.
    ///
    /// # Errors
    /// The offset of the first byte that differs from another viewer's.
    pub(super) fn take(&mut self, offset: u64, content: &[u8]) -> Result<(), u64> {
        let from = usize::try_from(offset).map_err(|_| offset)?;
        let end = from + content.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
            self.seen.resize(end, false);
        }
        let places = self.bytes[from..end]
            .iter_mut()
            .zip(&mut self.seen[from..end]);
        for (at, ((place, seen), byte)) in places.zip(content).enumerate() {
            if *seen && place != byte {
                return Err(offset + at as u64);
            }
            *place = *byte;
            *seen = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_differs_between_viewers_is_found() {
        let mut known = Known::default();
        assert_eq!(known.take(4, b"efgh"), Ok(()));
        assert_eq!(known.beginning(), b"");
        assert_eq!(known.take(0, b"abcdef"), Ok(()));
        assert_eq!(known.beginning(), b"abcdefgh");
        assert_eq!(known.take(6, b"gX"), Err(7));
    }
}
