//! Files: the room itself, its doors, WhatsApp's side, and the memory that large ones take.

mod bucket;
mod doors;
mod fetch;
mod memory;
mod room;

use std::io::Cursor;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Bytes that show where they are, and are no known kind of file.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from((at * 31 + at / 251 + 1) % 256).unwrap()).collect()
}

/// A picture of this size.
pub(crate) fn picture(width: u32, height: u32, format: image::ImageFormat) -> Vec<u8> {
    let channel = |at: u32| u8::try_from(at % 256).unwrap();
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([channel(x), channel(y), channel(x + y)]));
    let mut bytes = Cursor::new(Vec::new());
    image::DynamicImage::ImageRgb8(picture).write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A WAV file that plays so many seconds: 8000 samples a second, one byte each.
pub(crate) fn sound(seconds: u32) -> Vec<u8> {
    let length = 8000 * seconds;
    let mut wav = Vec::new();
    wav.extend_from_slice(b"RIFF");
    wav.extend_from_slice(&(36 + length).to_le_bytes());
    wav.extend_from_slice(b"WAVEfmt ");
    wav.extend_from_slice(&16u32.to_le_bytes());
    wav.extend_from_slice(&[1, 0, 1, 0]);
    wav.extend_from_slice(&8000u32.to_le_bytes());
    wav.extend_from_slice(&8000u32.to_le_bytes());
    wav.extend_from_slice(&[1, 0, 8, 0]);
    wav.extend_from_slice(b"data");
    wav.extend_from_slice(&length.to_le_bytes());
    wav.resize(wav.len() + length as usize, 128);
    wav
}

/// A web server that answers every request with `answer` as it is, on a port of its own.
pub(crate) async fn web(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    format!("http://{address}")
}

/// The same for a file that is there.
pub(crate) async fn web_file(kind: &str, file: &[u8]) -> String {
    let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", file.len());
    web([head.as_bytes(), file].concat()).await
}
