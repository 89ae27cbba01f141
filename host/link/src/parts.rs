//! Messages that are longer than a seal can be go in parts.

use crate::LONGEST;
use std::collections::{BTreeMap, VecDeque};

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

/// So many messages are put together at the same time; the oldest gives way.
const MESSAGES: usize = 4;

/// Puts parts together. They come by several streams at once, and so in any order; each comes once, because a seal is opened
/// only once. A message of which one is missing gives way to later ones.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    /// The oldest first.
    begun: VecDeque<Begun>,
}

#[derive(Debug)]
struct Begun {
    number: u32,
    count: u16,
    pieces: BTreeMap<u16, Vec<u8>>,
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
        if index >= count {
            return None;
        }
        let known = self.begun.iter().position(|begun| (begun.number, begun.count) == (number, count));
        let place = known.unwrap_or_else(|| {
            if self.begun.len() == MESSAGES {
                self.begun.pop_front();
            }
            self.begun.push_back(Begun { number, count, pieces: BTreeMap::new() });
            self.begun.len() - 1
        });
        let begun = self.begun.get_mut(place)?;
        begun.pieces.insert(index, bytes.to_vec());
        if begun.pieces.values().map(Vec::len).sum::<usize>() > LONGEST {
            self.begun.remove(place);
            return None;
        }
        if begun.pieces.len() < usize::from(count) {
            return None;
        }
        let whole = self.begun.remove(place)?;
        Some(whole.pieces.into_values().flatten().collect())
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
    fn parts_that_cross_on_several_ways_are_sorted() {
        let messages: Vec<Vec<u8>> = (1..=2).map(|byte| vec![byte; 4 * PART - 9]).collect();
        let (first, second) = (cut(7, &messages[0]), cut(8, &messages[1]));
        let order = [&first[3], &second[0], &first[0], &first[2], &second[3], &second[1], &first[1], &second[2]];
        let mut gathering = Gathering::default();
        let came: Vec<_> = order.into_iter().filter_map(|part| gathering.take(part.clone())).collect();
        assert_eq!(came, messages);
        assert!(gathering.begun.is_empty());
    }

    #[test]
    fn a_missing_part_is_no_message() {
        let parts = cut(1, &vec![1; 3 * PART]);
        let mut gathering = Gathering::default();
        for part in [&parts[0], &parts[2], &parts[2]] {
            assert_eq!(gathering.take(part.clone()), None);
        }
        assert!(gathering.take(parts[1].clone()).is_some(), "whatever the order");
        for number in 2..100 {
            assert_eq!(gathering.take(cut(number, &vec![1; 3 * PART])[0].clone()), None);
        }
        assert_eq!(gathering.begun.len(), MESSAGES, "what never becomes whole takes no more and more memory");
        assert_eq!(parts.iter().filter_map(|part| gathering.take(part.clone())).count(), 1);
        for nonsense in [&[][..], &[WHOLE][..], &[PIECE], &[PIECE, 1, 2, 3], &[7; 20]] {
            assert!(gathering.take(nonsense.to_vec()).is_none_or(|message| message.is_empty()));
        }
    }
}
