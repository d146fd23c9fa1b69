//! A reply's text as a QR code: picture, drawing or blocks for a terminal.

use std::io::Write as _;

use http::{HeaderMap, header};
use qrcode::{Color, QrCode, render};

use crate::error::{Error, Result};

/// A form in which a QR code is given, chosen by `Accept`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Png,
    Svg,
    Blocks,
}

/// Pixels per module of the picture.
const SCALE: usize = 8;
/// Modules of white around the code, as the standard asks for.
const QUIET: usize = 4;

impl Form {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Svg => "image/svg+xml",
            Self::Blocks => "text/plain; charset=utf-8",
        }
    }

    /// The form that the caller likes best; `None` for JSON.
    pub(super) fn asked_for(headers: &HeaderMap) -> Option<Self> {
        preferences(headers).iter().find_map(|kind| match kind.as_str() {
            "image/png" | "image/*" => Some(Some(Self::Png)),
            "image/svg+xml" => Some(Some(Self::Svg)),
            "text/plain" => Some(Some(Self::Blocks)),
            "application/json" | "application/*" | "*/*" => Some(None),
            _ => None,
        })?
    }

    pub(super) fn draw(self, text: &str) -> Result<Vec<u8>> {
        let code = QrCode::new(text).map_err(Error::internal)?;
        match self {
            Self::Png => png(&code),
            Self::Svg => Ok(code.render::<render::svg::Color<'_>>().min_dimensions(256, 256).build().into_bytes()),
            Self::Blocks => Ok((code.render::<render::unicode::Dense1x2>().build() + "\n").into_bytes()),
        }
    }
}

fn png(code: &QrCode) -> Result<Vec<u8>> {
    let (modules, colors) = (code.width(), code.to_colors());
    let side = (modules + 2 * QUIET) * SCALE;
    let dark = |x: usize, y: usize| {
        let (column, row) = ((x / SCALE).wrapping_sub(QUIET), (y / SCALE).wrapping_sub(QUIET));
        column < modules && row < modules && colors[row * modules + column] == Color::Dark
    };
    // One bit per pixel, set for white; rows begin at whole bytes.
    let mut rows = vec![0u8; side.div_ceil(8) * side];
    for y in 0..side {
        for x in (0..side).filter(|x| !dark(*x, y)) {
            rows[y * side.div_ceil(8) + x / 8] |= 0x80 >> (x % 8);
        }
    }
    let mut file = Vec::new();
    let pixels = u32::try_from(side).map_err(Error::internal)?;
    let mut encoder = png::Encoder::new(&mut file, pixels, pixels);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(png::BitDepth::One);
    let mut writer = encoder.write_header().map_err(Error::internal)?;
    writer.write_image_data(&rows).map_err(Error::internal)?;
    writer.finish().map_err(Error::internal)?;
    file.flush().map_err(Error::internal)?;
    Ok(file)
}

/// The media types of `Accept`, most wanted first.
pub(super) fn preferences(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let mut wanted: Vec<(f32, String)> = Vec::new();
    for range in values.flat_map(|v| v.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|p| p.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if quality > 0.0 {
            wanted.push((quality, kind));
        }
    }
    wanted.sort_by(|a, b| b.0.total_cmp(&a.0));
    wanted.into_iter().map(|(_, kind)| kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Option<Form> {
        Form::asked_for(&HeaderMap::from_iter([(header::ACCEPT, accept.parse().unwrap())]))
    }

    #[test]
    fn accept_chooses_the_form() {
        assert_eq!(form("image/png"), Some(Form::Png));
        assert_eq!(form("image/svg+xml, image/png"), Some(Form::Svg));
        assert_eq!(form("image/svg+xml;q=0.5, image/png"), Some(Form::Png));
        assert_eq!(form("text/plain"), Some(Form::Blocks));
        assert_eq!(form("image/avif,image/webp,image/*,*/*;q=0.8"), Some(Form::Png));
        for json in ["*/*", "application/json", "text/html,*/*;q=0.8", "image/png;q=0", "audio/ogg"] {
            assert_eq!(form(json), None, "{json}");
        }
        assert_eq!(Form::asked_for(&HeaderMap::new()), None);
    }
}
