//! What phones want to know of a file before they have it: its size on the screen, how long it plays, a small picture of it.
//!
//! Decoding is where a small file becomes large: pictures are only decoded within bounds, a few at a time, on blocking threads. What cannot be
//! found out is left out, and phones find it out themselves; only a picture that is none is refused.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Cursor, Read as _, Seek as _};
use std::time::Duration;

use image::{DynamicImage, ImageDecoder as _, ImageReader, Limits};
use lofty::config::ParseOptions;
use lofty::file::AudioFile as _;
use lofty::probe::Probe;

use super::Files;
use crate::domain::media::MediaKind;
use crate::error::{Error, Result};

/// Pixels of a picture that is still decoded, for its thumbnail.
const PIXELS: u64 = 40_000_000;
/// Bytes that decoding may take.
const MEMORY: u64 = 256 << 20;
/// Pixels of a thumbnail's longer side, and its JPEG quality.
const THUMBNAIL: (u32, u8) = (100, 60);
/// Bars of a recording's picture.
const BARS: usize = 64;

/// What was found out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Pixels from left to right.
    pub width: Option<u32>,
    /// Pixels from top to bottom.
    pub height: Option<u32>,
    /// A small JPEG of the picture.
    pub thumbnail: Option<Vec<u8>>,
    /// How long it plays.
    pub duration: Option<Duration>,
    /// The loudness of a recording, 64 numbers from 0 to 100.
    pub waveform: Option<Vec<u8>>,
    /// Whether the sticker moves.
    pub animated: bool,
}

impl Files {
    /// Looks into a file that will be sent as `kind`. Its position is not kept.
    ///
    /// # Errors
    /// `validation_error`, naming `field`, for a picture or a sticker that cannot be read.
    pub async fn look(&self, field: &str, kind: MediaKind, file: &File) -> Result<Details> {
        let _turn = self.0.looks.acquire().await.map_err(Error::internal)?;
        let file = file.try_clone().map_err(Error::internal)?;
        let found = tokio::task::spawn_blocking(move || look(kind, file)).await.map_err(Error::internal)?;
        found.ok_or_else(|| Error::field(field, "the picture cannot be read").reason("wrong_media_type"))
    }
}

/// None for a picture that is none.
fn look(kind: MediaKind, mut file: File) -> Option<Details> {
    file.rewind().ok()?;
    match kind {
        MediaKind::Image => picture(file),
        MediaKind::Sticker => {
            let animated = is_animated(&mut file);
            file.rewind().ok()?;
            let picture = picture(file)?;
            Some(Details { thumbnail: None, animated, ..picture })
        }
        MediaKind::Video | MediaKind::Audio => Some(Details { duration: duration(file), ..Details::default() }),
        MediaKind::Voice => {
            let waveform = file.try_clone().ok().and_then(waveform);
            file.rewind().ok()?;
            Some(Details { duration: duration(file), waveform, ..Details::default() })
        }
        MediaKind::Document => Some(Details::default()),
    }
}

fn picture(file: File) -> Option<Details> {
    let mut reader = ImageReader::new(BufReader::new(file)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    let small = u64::from(width) * u64::from(height) <= PIXELS;
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let turned = orientation.to_exif() >= 5;
    let thumbnail = small.then(|| DynamicImage::from_decoder(decoder).ok()).flatten().and_then(|picture| {
        let mut little = picture.thumbnail(THUMBNAIL.0, THUMBNAIL.0);
        little.apply_orientation(orientation);
        let mut jpeg = Cursor::new(Vec::new());
        let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut jpeg, THUMBNAIL.1);
        little.to_rgb8().write_with_encoder(encoder).ok()?;
        Some(jpeg.into_inner())
    });
    let (width, height) = if turned { (height, width) } else { (width, height) };
    Some(Details { width: Some(width), height: Some(height), thumbnail, ..Details::default() })
}

/// Whether a WebP file says that it moves: the second bit of the flags in its extended header.
fn is_animated(file: &mut File) -> bool {
    let mut head = [0; 21];
    file.read_exact(&mut head).is_ok() && &head[12..16] == b"VP8X" && head[20] & 0b10 != 0
}

fn duration(file: File) -> Option<Duration> {
    let options = ParseOptions::new().read_tags(false).read_cover_art(false);
    let probe = Probe::new(BufReader::new(file)).options(options).guess_file_type().ok()?;
    let duration = probe.read().ok()?.properties().duration();
    (!duration.is_zero()).then_some(duration)
}

/// Bars in proportion to the bytes that the encoder spent: it spends few on silence. Exact enough for a picture, and costs no decoding.
fn waveform(file: File) -> Option<Vec<u8>> {
    let sizes = packets(BufReader::new(file))?;
    // The first two hold the codec's set-up.
    let sizes = sizes.get(2..).filter(|sizes| sizes.len() >= BARS)?;
    let mean = |at: usize| {
        let part = &sizes[at * sizes.len() / BARS..(at + 1) * sizes.len() / BARS];
        part.iter().sum::<usize>() / part.len().max(1)
    };
    let bars: Vec<usize> = (0..BARS).map(mean).collect();
    let (least, most) = (bars.iter().min()?, bars.iter().max()?);
    let span = (most - least).max(1);
    bars.iter().map(|bar| u8::try_from((bar - least) * 100 / span).ok()).collect()
}

/// The sizes of an Ogg file's packets, at most some hours of them.
fn packets(mut file: BufReader<File>) -> Option<Vec<usize>> {
    const MOST: usize = 1 << 20;
    let (mut sizes, mut open) = (Vec::new(), 0);
    while !file.fill_buf().ok()?.is_empty() && sizes.len() < MOST {
        let mut head = [0; 27];
        file.read_exact(&mut head).ok()?;
        if &head[..4] != b"OggS" {
            return None;
        }
        let mut lacing = vec![0; usize::from(head[26])];
        file.read_exact(&mut lacing).ok()?;
        for part in &lacing {
            open += usize::from(*part);
            if *part < 255 {
                sizes.push(std::mem::take(&mut open));
            }
        }
        file.seek_relative(lacing.iter().map(|part| i64::from(*part)).sum()).ok()?;
    }
    Some(sizes)
}
