//! Bytes of one output as several viewers bring them, in any order: the second one to bring a byte must bring the
//! same. For output whose content nobody knows beforehand (event lines carry random ids).

/// What is known so far.
#[derive(Debug, Default)]
pub(super) struct Known {
    bytes: Vec<u8>,
    /// Beside each byte: whether it is known.
    seen: Vec<bool>,
}

impl Known {
    /// Takes what a viewer has received at an offset.
    ///
    /// # Errors
    /// The offset of the first byte that another viewer has seen differently.
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
    fn what_differs_is_found() {
        let mut known = Known::default();
        assert_eq!(known.take(4, b"efgh"), Ok(()));
        assert_eq!(known.take(0, b"abcdef"), Ok(()));
        assert_eq!(known.take(6, b"gX"), Err(7));
    }
}
