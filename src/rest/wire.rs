//! Protobuf's wire format: just enough to write requests and to read replies.

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// A varint or a fixed-size number.
    Number(u64),
    /// A text, bytes, a message or packed numbers.
    Bytes(&'a [u8]),
}

/// The shape of a value on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Varint = 0,
    Eight = 1,
    Length = 2,
    Four = 5,
}

pub(super) fn put_varint(out: &mut Vec<u8>, mut n: u64) {
    loop {
        let low = n.to_le_bytes()[0] & 0x7f;
        n >>= 7;
        if n == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

pub(super) fn put_tag(out: &mut Vec<u8>, number: u32, shape: Shape) {
    put_varint(out, u64::from(number) << 3 | shape as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, Shape::Length);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads the fields of one message. Every method answers `None` at bytes that are no message.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// What has not been read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        // Tags and lengths are mostly one byte.
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Some(u64::from(*byte));
        }
        let mut n = 0u64;
        for (i, byte) in self.rest.iter().take(10).enumerate() {
            n |= u64::from(byte & 0x7f) << (7 * i);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[i + 1..];
                return Some(n);
            }
        }
        None
    }

    /// A number of the given shape, as in a packed list.
    pub(super) fn number(&mut self, shape: Shape) -> Option<u64> {
        match shape {
            Shape::Varint => self.varint(),
            Shape::Eight => self.take(8)?.try_into().ok().map(u64::from_le_bytes),
            Shape::Four => self.take(4)?.try_into().ok().map(u32::from_le_bytes).map(u64::from),
            Shape::Length => None,
        }
    }

    fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    /// The next field: its number and its value.
    pub(super) fn field(&mut self) -> Option<(u32, Raw<'a>)> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok()?;
        let value = match tag & 7 {
            0 => Raw::Number(self.number(Shape::Varint)?),
            1 => Raw::Number(self.number(Shape::Eight)?),
            5 => Raw::Number(self.number(Shape::Four)?),
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Raw::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((number, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_come_back(n: u64, field in 1u32..536_870_911) {
            let mut out = Vec::new();
            put_tag(&mut out, field, Shape::Varint);
            put_varint(&mut out, n);
            let mut reader = Reader::new(&out);
            let Some((number, Raw::Number(value))) = reader.field() else { panic!("no number") };
            prop_assert_eq!((number, value, reader.is_empty()), (field, n, true));
        }

        #[test]
        fn garbage_never_panics(bytes: Vec<u8>) {
            let mut reader = Reader::new(&bytes);
            while !reader.is_empty() && reader.field().is_some() {}
        }
    }
}
