//! A part of a file, as HTTP's `Range` asks for it.

/// A part: where it begins and how many bytes it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its first byte.
    pub offset: u64,
    /// Its length.
    pub length: u64,
}

/// What was asked for of a file of `size` bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// All of it: nothing was asked for, or in a form that is not understood, which HTTP says to overlook; several parts are such a form.
    All,
    /// This part.
    Part(Part),
    /// A part that lies beyond the end.
    Beyond,
}

/// Reads `bytes=0-99`, `bytes=100-` and `bytes=-100`.
pub fn asked(range: &str, size: u64) -> Asked {
    let Some((unit, spec)) = range.split_once('=') else { return Asked::All };
    if !unit.trim().eq_ignore_ascii_case("bytes") || spec.contains(',') {
        return Asked::All;
    }
    let Some((from, to)) = spec.trim().split_once('-') else { return Asked::All };
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().unwrap_or(u64::MAX));
    let (from, to) = match (from.trim(), to.trim()) {
        ("", "") => return Asked::All,
        ("", last) => match number(last) {
            Some(0) => return Asked::Beyond,
            Some(last) => (size.saturating_sub(last), size),
            None => return Asked::All,
        },
        (from, "") => match number(from) {
            Some(from) => (from, size),
            None => return Asked::All,
        },
        (from, to) => match (number(from), number(to)) {
            (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(size)),
            _ => return Asked::All,
        },
    };
    if from >= size { Asked::Beyond } else { Asked::Part(Part { offset: from, length: to - from }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_as_http_has_them() {
        let part = |offset, length| Asked::Part(Part { offset, length });
        for (range, expected) in [
            ("", Asked::All),
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-99", part(0, 100)),
            ("bytes=0-5000", part(0, 1000)),
            ("bytes=999-", part(999, 1)),
            ("bytes=-1", part(999, 1)),
            ("bytes=-5000", part(0, 1000)),
            ("BYTES=1-2", part(1, 2)),
            ("bytes=1000-", Asked::Beyond),
            ("bytes=1000-2000", Asked::Beyond),
            ("bytes=-0", Asked::Beyond),
            ("bytes=99999999999999999999-", Asked::Beyond),
            ("bytes=0-99999999999999999999", part(0, 1000)),
            ("bytes=5-4", Asked::All),
            ("bytes=0-1,3-4", Asked::All),
            ("bytes=a-b", Asked::All),
            ("bytes=-", Asked::All),
            ("bytes", Asked::All),
            ("lines=0-1", Asked::All),
            ("bytes=+1-2", Asked::All),
        ] {
            assert_eq!(asked(range, 1000), expected, "{range}");
        }
        assert_eq!(asked("bytes=0-", 0), Asked::Beyond);
    }
}
