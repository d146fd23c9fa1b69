//! QR codes for terminals: two modules in one character by half blocks.

use qrcode::{Color, EcLevel, QrCode};

use super::failure::Failure;

/// Light modules around the code; the standard asks for 4, phones do with 2, and terminals are small.
const MARGIN: usize = 2;

/// The code that carries `text`, line by line. With `colours` it is black on white whatever the terminal's colours are; without,
/// light modules are drawn, which is right for light text on a dark ground.
pub(super) fn lines(text: &str, colours: bool) -> Result<Vec<String>, Failure> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L)
        .map_err(|error| Failure::other(format!("the code does not fit into a QR code: {error}")))?;
    let width = code.width();
    let modules = code.to_colors();
    let dark = |x: usize, y: usize| {
        let inside = (MARGIN..width + MARGIN).contains(&x) && (MARGIN..width + MARGIN).contains(&y);
        inside && modules.get((y - MARGIN) * width + x - MARGIN) == Some(&Color::Dark)
    };
    let size = width + 2 * MARGIN;
    let row = |y: usize| -> String {
        let cells = (0..size).map(|x| match (dark(x, y) == colours, y + 1 < size && dark(x, y + 1) == colours) {
            (true, true) => '█',
            (true, false) => '▀',
            (false, true) => '▄',
            (false, false) => ' ',
        });
        if colours { format!("\x1b[38;5;16;48;5;231m{}\x1b[0m", cells.collect::<String>()) } else { cells.collect() }
    };
    Ok((0..size).step_by(2).map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drawings_show_the_same_modules() {
        let plain = lines("2@abc,def", false).unwrap();
        let coloured = lines("2@abc,def", true).unwrap();
        let inverted = |c: char| match c {
            '█' => ' ',
            ' ' => '█',
            '▀' => '▄',
            '▄' => '▀',
            other => other,
        };
        assert_eq!(plain.len(), coloured.len());
        // The last line of an odd height has nothing below it, so it is compared by its upper half alone in the next test.
        for (plain, coloured) in plain.iter().zip(&coloured).take(plain.len() - 1) {
            let bare = coloured.trim_start_matches("\x1b[38;5;16;48;5;231m").trim_end_matches("\x1b[0m");
            assert_eq!(plain.chars().map(inverted).collect::<String>(), bare);
        }
    }

    #[test]
    fn a_finder_pattern_is_where_it_belongs() {
        let plain = lines("x", false).unwrap();
        // Margin, then the seven dark modules of the upper left pattern: nothing drawn in the upper half.
        assert!(plain[1].starts_with("██ ▄▄▄▄▄ █"), "{}", plain[1]);
    }
}
