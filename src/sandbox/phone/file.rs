//! Files in messages: encrypted, put on the media host, described in the message, and fetched again.

use std::io::Cursor;

use buffa::{Message as _, MessageField};
use image::{DynamicImage, ImageFormat, ImageReader, Limits};
use wacore::download::MediaType;
use waproto::whatsapp as wa;

use super::Chat;
use super::compose::field;
use super::media::{Uploaded, file_of};
use crate::error::{Error, Result};
use crate::sandbox::PhoneMessage;
use crate::sandbox::draft::{Draft, File, FileKind};
use crate::sandbox::server::World;

/// The longer side of a preview, in pixels.
const PREVIEW: u32 = 72;
/// Images with a longer side are not looked at.
const MAX_SIDE: u32 = 8192;

impl World {
    /// The message with a file, which is put on the media host.
    pub(super) fn file_message(&mut self, number: &str, chat: &Chat, draft: &Draft, file: &File) -> Result<wa::Message> {
        let once = match file.kind {
            FileKind::Image | FileKind::Video => draft.view_once,
            FileKind::Audio if file.voice => draft.view_once,
            _ if draft.view_once => {
                return Err(Error::field("viewOnce", "only images, videos and voice messages can be looked at once"));
            }
            _ => false,
        };
        let context = self.context(number, chat, draft)?;
        let album = match &file.album {
            Some(id) => {
                let row = self.row_of(number, chat, "media.albumId", id)?;
                if row.shown.kind != "album" {
                    return Err(Error::field("media.albumId", "this message is no album"));
                }
                Some(self.key_of(number, chat, &row.shown)?)
            }
            None => None,
        };
        let mut file = file.clone();
        if file.bytes.is_empty() {
            file.bytes = sample(file.kind)?;
        }
        if file.mime_type.is_empty() {
            file.mime_type = type_of(&file);
        }
        let uploaded = self.upload_media(&file.bytes, kind_of(file.kind))?;
        let mut message = describe_file(file, uploaded, self.ambient.now().0 / 1000, context, once);
        if let Some(key) = album {
            let association = wa::MessageAssociation {
                association_type: Some(wa::message_association::AssociationType::MEDIA_ALBUM),
                parent_message_key: MessageField::some(key),
                ..Default::default()
            };
            let info = wa::MessageContextInfo { message_association: MessageField::some(association), ..Default::default() };
            message.message_context_info = MessageField::some(info);
        }
        if once {
            let inner = wa::message::FutureProofMessage { message: MessageField::some(message) };
            message = wa::Message { view_once_message_v2: MessageField::some(inner), ..Default::default() };
        }
        Ok(message)
    }

    /// The file of a message that the phone shows, decrypted. Fails when there is no such message or file.
    pub(in crate::sandbox) fn phone_opens_file(&self, number: &str, id: &str) -> Result<(PhoneMessage, Vec<u8>)> {
        let account = self.known(number)?;
        let mut rows = account.messages.values().filter(|row| row.shown.id == id);
        let row = rows.next().ok_or_else(|| Error::not_found("message"))?;
        let kind = match row.shown.kind.as_str() {
            "image" => MediaType::Image,
            "video" => MediaType::Video,
            "audio" => MediaType::Audio,
            "document" => MediaType::Document,
            "sticker" => MediaType::Sticker,
            _ => return Err(Error::field("messageId", "this message has no file")),
        };
        let kept = row.content.as_ref().and_then(|content| wa::Message::decode_from_slice(&content.0).ok());
        let mut content = kept.ok_or_else(|| Error::not_found("file"))?;
        let (path, key) = file_of(&mut content).ok_or_else(|| Error::not_found("file"))?;
        let plain = self.download_media(path, &key, kind)?;
        Ok((row.shown.clone(), plain))
    }
}

fn kind_of(kind: FileKind) -> MediaType {
    match kind {
        FileKind::Image => MediaType::Image,
        FileKind::Video => MediaType::Video,
        FileKind::Audio => MediaType::Audio,
        FileKind::Document => MediaType::Document,
        FileKind::Sticker => MediaType::Sticker,
    }
}

fn type_of(file: &File) -> String {
    if file.kind == FileKind::Audio && file.voice {
        return "audio/ogg; codecs=opus".to_owned();
    }
    let found = infer::get(&file.bytes).map(|found| found.mime_type());
    let usual = match file.kind {
        FileKind::Image => "image/jpeg",
        FileKind::Video => "video/mp4",
        FileKind::Audio => "audio/mpeg",
        FileKind::Document => "application/octet-stream",
        FileKind::Sticker => "image/webp",
    };
    found.unwrap_or(usual).to_owned()
}

fn describe_file(file: File, up: Uploaded, now: i64, context: Option<wa::ContextInfo>, once: bool) -> wa::Message {
    let mut message = wa::Message::default();
    let caption = Some(file.caption.clone()).filter(|caption| !caption.is_empty());
    let picture = matches!(file.kind, FileKind::Image | FileKind::Sticker).then(|| look_at(&file.bytes)).flatten();
    let (width, height) = picture.as_ref().map(|it| (Some(it.width()), Some(it.height()))).unwrap_or_default();
    let seconds = Some(file.seconds).filter(|seconds| *seconds > 0);
    let view_once = once.then_some(true);
    macro_rules! described {
        ($kind:ident { $($more:tt)* }) => {
            wa::message::$kind {
                mimetype: Some(file.mime_type),
                file_sha256: Some(up.file_sha256),
                file_enc_sha256: Some(up.file_enc_sha256),
                file_length: Some(up.file_length),
                media_key: Some(up.media_key),
                media_key_timestamp: Some(now),
                url: Some(format!("https://mmg.whatsapp.net{}", up.direct_path)),
                direct_path: Some(up.direct_path),
                context_info: field(context),
                $($more)*
                ..Default::default()
            }
        };
    }
    match file.kind {
        FileKind::Image => {
            let jpeg_thumbnail = picture.as_ref().and_then(preview);
            let it = described!(ImageMessage { caption, width, height, jpeg_thumbnail, view_once, });
            message.image_message = MessageField::some(it);
        }
        FileKind::Video => {
            let (gif_playback, streaming_sidecar) = (file.animated.then_some(true), up.streaming_sidecar);
            let it = described!(VideoMessage { caption, seconds, gif_playback, streaming_sidecar, view_once, });
            message.video_message = MessageField::some(it);
        }
        FileKind::Audio => {
            let (ptt, streaming_sidecar) = (Some(file.voice), up.streaming_sidecar);
            let it = described!(AudioMessage { seconds, ptt, streaming_sidecar, view_once, });
            message.audio_message = MessageField::some(it);
        }
        FileKind::Document => {
            let named = if file.file_name.is_empty() { "document".to_owned() } else { file.file_name };
            let (title, file_name) = (Some(named.clone()), Some(named));
            let it = described!(DocumentMessage { title, file_name, caption, });
            message.document_message = MessageField::some(it);
        }
        FileKind::Sticker => {
            let it = described!(StickerMessage { width, height, is_animated: Some(file.animated), });
            message.sticker_message = MessageField::some(it);
        }
    }
    message
}

/// The picture in some bytes, when they are one of a sensible size.
fn look_at(bytes: &[u8]) -> Option<DynamicImage> {
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MAX_SIDE), Some(MAX_SIDE));
    reader.limits(limits);
    reader.decode().ok()
}

fn preview(picture: &DynamicImage) -> Option<Vec<u8>> {
    let mut jpeg = Cursor::new(Vec::new());
    picture.thumbnail(PREVIEW, PREVIEW).to_rgb8().write_to(&mut jpeg, ImageFormat::Jpeg).ok()?;
    Some(jpeg.into_inner())
}

/// A small file of a kind, for those who do not care what is in it.
fn sample(kind: FileKind) -> Result<Vec<u8>> {
    let drawn = |side: u32, format| {
        let picture = image::RgbaImage::from_fn(side, side, |x, y| {
            let shade = |at: u32| u8::try_from(at * 255 / side).unwrap_or(u8::MAX);
            image::Rgba([shade(x), shade(y), 128, 255])
        });
        let mut bytes = Cursor::new(Vec::new());
        let picture = DynamicImage::ImageRgba8(picture);
        let picture = if format == ImageFormat::Jpeg { DynamicImage::ImageRgb8(picture.to_rgb8()) } else { picture };
        picture.write_to(&mut bytes, format).map_err(Error::internal)?;
        Ok(bytes.into_inner())
    };
    match kind {
        FileKind::Image => drawn(320, ImageFormat::Jpeg),
        FileKind::Sticker => drawn(512, ImageFormat::WebP),
        FileKind::Audio => Ok(tone()),
        FileKind::Document => Ok(b"A document of the sandbox.\n".to_vec()),
        FileKind::Video => Err(Error::field("media.data", "there is no sample of a video: give the bytes of an MP4 file")),
    }
}

/// A second of a tone, as WAV.
fn tone() -> Vec<u8> {
    const RATE: u32 = 8000;
    let mut wave = Vec::new();
    wave.extend_from_slice(b"RIFF");
    wave.extend_from_slice(&(36 + RATE).to_le_bytes());
    wave.extend_from_slice(b"WAVEfmt ");
    wave.extend_from_slice(&16u32.to_le_bytes());
    // PCM, one channel, 8 bits.
    for (two, four) in [(Some(1u16), None), (Some(1), None), (None, Some(RATE)), (None, Some(RATE)), (Some(1), None), (Some(8), None)] {
        wave.extend(two.map(u16::to_le_bytes).into_iter().flatten());
        wave.extend(four.map(u32::to_le_bytes).into_iter().flatten());
    }
    wave.extend_from_slice(b"data");
    wave.extend_from_slice(&RATE.to_le_bytes());
    // A square wave of 400 Hz.
    wave.extend((0..RATE).map(|at| if at / 10 % 2 == 0 { 96u8 } else { 160 }));
    wave
}
