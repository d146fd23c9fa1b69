//! The form of a `.crypt15` file, piece by piece.
//!
//! | part | bytes |
//! |---|---|
//! | length of the header | 1 |
//! | `1`, in backups of the message store only | 0 or 1 |
//! | header: a protobuf message, whose field 3 holds the nonce as its field 1 | as told |
//! | the database, compressed by zlib and encrypted by AES-256 in Galois/Counter Mode with a nonce of 16 bytes | the rest |
//! | the cipher's tag | 16 |
//! | MD5 of everything before it | 16 |

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt as _, KeyInit as _, KeyIvInit as _, StreamCipher as _};
use ctr::Ctr32BE;
use flate2::write::ZlibDecoder;
use ghash::GHash;
use ghash::universal_hash::UniversalHash as _;

use super::key::Key;
use super::md5::Md5;
use crate::error::{Error, Result};

/// The largest file that is taken, in bytes.
pub const LARGEST: u64 = 256 << 20;

/// The largest database that may come out of it: what a bomb can take of the disk.
const LARGEST_DATABASE: u64 = 8 << 30;

/// How much is worked on at a time; a multiple of the cipher's block.
const PIECE: usize = 64 << 10;

/// The cipher's block, the tag and the checksum have the same length.
const BLOCK: usize = 16;

/// Decrypts the file `from` into the file `to`, which only this user can read, and answers whether everything about it is right. The
/// memory that it takes does not depend on the file. What lies at `to` after an error is of no use.
///
/// # Errors
/// `validation_error` naming `file` or `key`.
pub fn open(from: &Path, key: &Key, to: &Path) -> Result<()> {
    let file = File::open(from).map_err(Error::internal)?;
    let length = file.metadata().map_err(Error::internal)?.len();
    let mut file = BufReader::with_capacity(PIECE, file);
    let mut checksum = Md5::new();
    let (nonce, header) = header(&mut file, &mut checksum)?;
    let trailer = 2 * BLOCK as u64;
    let mut left = length.checked_sub(header + trailer).filter(|left| *left > 0).ok_or_else(cut)?;

    let key = key.cipher_key()?;
    let cipher = Aes256::new((&key).into());
    let mut zero = aes::Block::default();
    cipher.encrypt_block(&mut zero);
    let first = counter(&zero, &nonce);
    let mut stream = Ctr32BE::<Aes256>::new((&key).into(), &next(first).into());
    let mut authentic = GHash::new(&zero);
    let mut out = ZlibDecoder::new(Capped { file: private(to).map_err(Error::internal)?, left: LARGEST_DATABASE });
    let (mut inflated, mut sealed, mut piece) = (Ok(()), 0_u64, vec![0; PIECE]);
    while left > 0 {
        let size = usize::try_from(left).map_or(PIECE, |left| left.min(PIECE));
        let piece = &mut piece[..size];
        file.read_exact(piece).map_err(|_| cut())?;
        checksum.update(piece);
        authentic.update_padded(piece);
        stream.apply_keystream(piece);
        if inflated.is_ok() {
            // What is wrong is told when it is known whether it is the file or the key.
            inflated = out.write_all(piece);
        }
        left -= size as u64;
        sealed += size as u64;
    }
    let (mut tag, mut sum) = ([0; BLOCK], [0; BLOCK]);
    file.read_exact(&mut tag).map_err(|_| cut())?;
    checksum.update(&tag);
    file.read_exact(&mut sum).map_err(|_| cut())?;
    if checksum.finish() != sum {
        return Err(Error::field("file", "damaged or cut: its checksum is not that of its content; fetch it again"));
    }
    let mut lengths = [0; BLOCK];
    lengths[8..].copy_from_slice(&(sealed * 8).to_be_bytes());
    authentic.update(&[lengths.into()]);
    let mut mask: aes::Block = first.into();
    cipher.encrypt_block(&mut mask);
    let hash = authentic.finalize();
    let right = hash.iter().zip(mask.iter()).map(|(a, b)| a ^ b);
    // Every byte is looked at, whatever the first ones are.
    if right.zip(tag).fold(0, |wrong, (a, b)| wrong | (a ^ b)) != 0 {
        return Err(Error::field("key", "not the key of this file; use the one that was shown when the backup was set up"));
    }
    inflated.and_then(|()| out.finish()?.file.sync_all()).map_err(|cause| match cause.kind() {
        io::ErrorKind::FileTooLarge => Error::field("file", format!("the database in it has more than {LARGEST_DATABASE} bytes")),
        io::ErrorKind::StorageFull => Error::internal(cause),
        _ => Error::field("file", "there is no compressed database in it; give the message store, msgstore.db.crypt15"),
    })
}

fn cut() -> Error {
    Error::field("file", "too short for a .crypt15 file; fetch it again")
}

/// An empty file that only this user can read.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(path)
}

/// The nonce, and how long the header is with what stands before it.
fn header(file: &mut impl Read, checksum: &mut Md5) -> Result<([u8; BLOCK], u64)> {
    let mut read = |bytes: &mut [u8]| -> Result<()> {
        file.read_exact(bytes).map_err(|_| cut())?;
        checksum.update(bytes);
        Ok(())
    };
    let (mut length, mut first) = ([0], [0]);
    read(&mut length)?;
    read(&mut first)?;
    // No header begins with this byte, for no field has the number 0.
    let flagged = first == [1];
    let mut header = vec![0; usize::from(length[0])];
    if flagged {
        read(&mut header)?;
    } else if let Some((head, rest)) = header.split_first_mut() {
        *head = first[0];
        read(rest)?;
    }
    let no = || Error::field("file", "not a .crypt15 file; give an end-to-end encrypted backup, msgstore.db.crypt15");
    let field = |number| find(&header, number);
    let Some(told) = field(3) else {
        let older = field(2).is_some();
        let text =
            "a .crypt14 file, whose key does not leave the phone; switch on end-to-end encrypted backups and give that one";
        return Err(if older { Error::field("file", text) } else { no() });
    };
    let nonce = find(told, 1).and_then(|nonce| nonce.try_into().ok()).ok_or_else(no)?;
    Ok((nonce, 1 + u64::from(flagged) + u64::from(length[0])))
}

/// The bytes of a field of a protobuf message.
fn find(mut message: &[u8], wanted: u64) -> Option<&[u8]> {
    while !message.is_empty() {
        let (tag, rest) = varint(message)?;
        let (value, rest) = match tag & 7 {
            0 => (&[][..], varint(rest)?.1),
            1 => rest.split_at_checked(8)?,
            2 => {
                let (length, rest) = varint(rest)?;
                rest.split_at_checked(usize::try_from(length).ok()?)?
            }
            5 => rest.split_at_checked(4)?,
            _ => return None,
        };
        if tag == wanted << 3 | 2 {
            return Some(value);
        }
        message = rest;
    }
    None
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0;
    for (at, byte) in bytes.iter().enumerate().take(9) {
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((number, &bytes[at + 1..]));
        }
    }
    None
}

/// The counter's first value for a nonce that has not the usual 12 bytes: its hash.
fn counter(hash_key: &aes::Block, nonce: &[u8; BLOCK]) -> [u8; BLOCK] {
    let mut hash = GHash::new(hash_key);
    let mut length = [0; BLOCK];
    length[8..].copy_from_slice(&(8 * BLOCK as u64).to_be_bytes());
    hash.update(&[(*nonce).into(), length.into()]);
    hash.finalize().into()
}

/// The counter behind: its last four bytes are a number.
fn next(mut counter: [u8; BLOCK]) -> [u8; BLOCK] {
    let number = u32::from_be_bytes([counter[12], counter[13], counter[14], counter[15]]).wrapping_add(1);
    counter[12..].copy_from_slice(&number.to_be_bytes());
    counter
}

/// A file that grows no further than allowed.
struct Capped {
    file: File,
    left: u64,
}

impl Write for Capped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.left = self.left.checked_sub(written as u64).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
