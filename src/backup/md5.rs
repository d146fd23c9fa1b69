//! MD5, with which backups are guarded against damage. It proves nothing about who made a file; the cipher's own tag does.

/// The sum over what was given so far.
pub(super) struct Md5 {
    state: [u32; 4],
    length: u64,
    pending: Vec<u8>,
}

const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

impl Md5 {
    pub(super) fn new() -> Self {
        Self { state: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476], length: 0, pending: Vec::with_capacity(128) }
    }

    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.length = self.length.wrapping_add(bytes.len() as u64);
        if !self.pending.is_empty() {
            let wanted = (64 - self.pending.len()).min(bytes.len());
            self.pending.extend_from_slice(&bytes[..wanted]);
            bytes = &bytes[wanted..];
            if self.pending.len() < 64 {
                return;
            }
            let block = std::mem::take(&mut self.pending);
            self.blocks(&block);
        }
        let whole = bytes.len() / 64 * 64;
        self.blocks(&bytes[..whole]);
        self.pending.extend_from_slice(&bytes[whole..]);
    }

    pub(super) fn finish(mut self) -> [u8; 16] {
        let bits = self.length.wrapping_mul(8);
        let mut last = std::mem::take(&mut self.pending);
        last.push(0x80);
        while last.len() % 64 != 56 {
            last.push(0);
        }
        last.extend_from_slice(&bits.to_le_bytes());
        self.blocks(&last);
        let mut sum = [0; 16];
        for (bytes, word) in sum.chunks_mut(4).zip(self.state) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        sum
    }

    fn blocks(&mut self, bytes: &[u8]) {
        let constants = constants();
        for block in bytes.chunks_exact(64) {
            let mut words = [0_u32; 16];
            for (word, four) in words.iter_mut().zip(block.chunks_exact(4)) {
                *word = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
            }
            let [mut a, mut b, mut c, mut d] = self.state;
            for step in 0..64 {
                let (mixed, at) = match step / 16 {
                    0 => ((b & c) | (!b & d), step),
                    1 => ((d & b) | (!d & c), (5 * step + 1) % 16),
                    2 => (b ^ c ^ d, (3 * step + 5) % 16),
                    _ => (c ^ (b | !d), (7 * step) % 16),
                };
                let sum = a.wrapping_add(mixed).wrapping_add(constants[step]).wrapping_add(words[at]);
                (a, d, c) = (d, c, b);
                b = b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4]));
            }
            for (state, new) in self.state.iter_mut().zip([a, b, c, d]) {
                *state = state.wrapping_add(new);
            }
        }
    }
}

/// The first 32 bits behind the point of the sines of 1 to 64.
fn constants() -> &'static [u32; 64] {
    static TABLE: std::sync::LazyLock<[u32; 64]> = std::sync::LazyLock::new(|| {
        std::array::from_fn(|step| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a sine's absolute value is below one, so its first 32 bits fit"
            )]
            let word = (((step + 1) as f64).sin().abs() * 4_294_967_296.0) as u32;
            word
        })
    });
    &TABLE
}

#[cfg(test)]
mod tests {
    use super::Md5;

    fn of(bytes: &[u8], piece: usize) -> String {
        let mut sum = Md5::new();
        bytes.chunks(piece).for_each(|piece| sum.update(piece));
        sum.finish().iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    }

    #[test]
    fn the_sums_of_rfc_1321() {
        assert_eq!(of(b"", 1), "d41d8cd98f00b204e9800998ecf8427e");
        assert_eq!(of(b"abc", 2), "900150983cd24fb0d6963f7d28e17f72");
        let digits = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
        for piece in [1, 7, 63, 64, 65, 80] {
            assert_eq!(of(digits, piece), "57edf4a22be3c955ac49da2e2107b67a", "{piece}");
        }
    }
}
