//! Messages that are longer than a seal can be go in parts.

use crate::LONGEST;

/// The longest thing that is sealed, with its seal, in bytes (Noise has no longer ones).
pub(crate) const SEALED: usize = 65535;

/// The longest part.
const PART: usize = 60_000;

const WHOLE: u8 = 0;
const PIECE: u8 = 1;

/// What is sealed for a message: itself, or its parts.
pub(crate) fn cut(number: u32, message: &[u8]) -> Vec<Vec<u8>> {
    if message.len() <= PART {
        return vec![[&[WHOLE], message].concat()];
    }
    let count = u16::try_from(message.len().div_ceil(PART)).unwrap_or(u16::MAX);
    let part = |(index, piece): (u16, &[u8])| {
        let mut part = vec![PIECE];
        part.extend(number.to_be_bytes());
        part.extend(index.to_be_bytes());
        part.extend(count.to_be_bytes());
        part.extend(piece);
        part
    };
    (0..count).zip(message.chunks(PART)).map(part).collect()
}

/// It is one part of several.
pub(crate) fn is_piece(part: &[u8]) -> bool {
    part.first() == Some(&PIECE)
}

/// Puts the parts of the newest message together. They come by a stream, in order; one that is missing ends the message.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    number: u32,
    next: u16,
    bytes: Vec<u8>,
}

impl Gathering {
    /// The message that is whole with this part.
    pub(crate) fn take(&mut self, mut part: Vec<u8>) -> Option<Vec<u8>> {
        match *part.first()? {
            WHOLE => Some(part.split_off(1)),
            PIECE => self.take_piece(part.get(1..)?),
            _ => None,
        }
    }

    fn take_piece(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        let (number, rest) = piece.split_first_chunk()?;
        let (index, rest) = rest.split_first_chunk()?;
        let (count, bytes) = rest.split_first_chunk()?;
        let (number, index, count) =
            (u32::from_be_bytes(*number), u16::from_be_bytes(*index), u16::from_be_bytes(*count));
        if index == 0 {
            *self = Self { number, next: 0, bytes: Vec::new() };
        }
        if number != self.number || index != self.next || self.bytes.len() + bytes.len() > LONGEST {
            return None;
        }
        self.bytes.extend(bytes);
        self.next += 1;
        (self.next == count).then(|| std::mem::take(self).bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_whole_again() {
        for length in [0, 1, PART, PART + 1, 3 * PART, 5 * PART - 7] {
            let message: Vec<u8> = (0..length).map(|n| u8::try_from(n % 251).unwrap()).collect();
            let mut gathering = Gathering::default();
            let came: Vec<_> = cut(9, &message).into_iter().filter_map(|part| gathering.take(part)).collect();
            assert_eq!(came, vec![message], "{length}");
        }
    }

    #[test]
    fn a_missing_part_is_no_message() {
        let parts = cut(1, &vec![1; 3 * PART]);
        let mut gathering = Gathering::default();
        for part in [&parts[0], &parts[2], &parts[2]] {
            assert_eq!(gathering.take(part.clone()), None);
        }
        let again = parts.into_iter().filter_map(|part| gathering.take(part)).count();
        assert_eq!(again, 1);
        for nonsense in [&[][..], &[WHOLE][..], &[PIECE], &[PIECE, 1, 2, 3], &[7; 20]] {
            assert!(gathering.take(nonsense.to_vec()).is_none_or(|message| message.is_empty()));
        }
    }
}
