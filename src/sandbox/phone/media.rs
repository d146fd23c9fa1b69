//! Files of messages: phones encrypt them, put them on the media host, take them from there, and put an expired one up again when a
//! linked device asks for it.

use buffa::Message as _;
use bytes::Bytes;
use wacore::download::{DownloadUtils, MediaType};
use wacore::media_retry::decrypt_media_retry_notification;
use wacore_binary::{Jid, Node};
use waproto::whatsapp as wa;
use waproto::whatsapp::media_retry_notification::ResultType;

use crate::error::{Error, Result};
use crate::sandbox::journal::Key;
use crate::sandbox::keys::Blob;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;
use crate::sandbox::wire::node::{SERVER, attr, child_bytes, el, jid};

/// What a message says about a file that was put on the media host.
#[derive(Clone, Debug)]
pub struct Uploaded {
    /// Where it is.
    pub direct_path: String,
    /// What it is encrypted with.
    pub media_key: Vec<u8>,
    /// The hash of the file.
    pub file_sha256: Vec<u8>,
    /// The hash of what is on the media host.
    pub file_enc_sha256: Vec<u8>,
    /// Its length before encryption.
    pub file_length: u64,
    /// For audio and video: what players check parts against.
    pub streaming_sidecar: Option<Vec<u8>>,
}

impl World {
    /// Encrypts a file and puts it on the media host. Fails when that is full.
    pub(in crate::sandbox) fn upload_media(&mut self, plain: &[u8], kind: MediaType) -> Result<Uploaded> {
        let key = self.ambient.random::<32>();
        let sealed =
            wacore::upload::encrypt_media_with_key_and_sidecar(plain, kind, Some(&key), None).map_err(Error::internal)?;
        let direct_path = self.put_media(kind.mms_type(), Bytes::from(sealed.data_to_upload))?;
        Ok(Uploaded {
            direct_path,
            media_key: sealed.media_key.to_vec(),
            file_sha256: sealed.file_sha256.to_vec(),
            file_enc_sha256: sealed.file_enc_sha256.to_vec(),
            file_length: u64::try_from(plain.len()).unwrap_or(u64::MAX),
            streaming_sidecar: sealed.streaming_sidecar,
        })
    }

    /// The file behind a direct path, decrypted. Fails when it is not there or the key is another one.
    pub(in crate::sandbox) fn download_media(&self, direct_path: &str, key: &[u8], kind: MediaType) -> Result<Vec<u8>> {
        let sealed = self.media_bytes(direct_path).ok_or_else(|| Error::not_found("file"))?;
        DownloadUtils::verify_and_decrypt(&sealed, key, kind).map_err(|_| Error::field("mediaKey", "does not open this file"))
    }

    /// A linked device could not get a file: the phone puts it up again and says where. A receipt of the history's own kind asks for
    /// a piece of the history.
    pub(in crate::sandbox) fn phone_is_asked_for_media(&mut self, device: &Place, receipt: &Node) {
        if self.in_hand(&device.number).is_err() {
            return;
        }
        let id = attr(receipt, "id");
        let Some(asked) = receipt.get_optional_child("rmr") else {
            self.phone_resends_piece(device, &id);
            return;
        };
        let number = device.number.clone();
        let chat = jid(asked, "jid").and_then(|chat| self.chat_row(&chat));
        let answer = chat.ok_or("2").and_then(|chat| self.put_up_again(&number, &chat, &id, receipt));
        let content = match answer {
            Ok(content) => content,
            Err(code) => el("error").attr("code", code).build(),
        };
        let notification = el("notification")
            .attr("from", SERVER)
            .attr("type", "mediaretry")
            .attr("id", id)
            .attr("t", self.now_secs().to_string())
            .children([content, asked.clone()])
            .build();
        self.deliver(device, notification);
    }

    /// The `<encrypt>` of the answer, or the code of an error: 2 for a message that the phone does not have, 3 for a wrong key.
    fn put_up_again(&mut self, number: &str, chat: &str, id: &str, receipt: &Node) -> Result<Node, &'static str> {
        let encrypt = receipt.get_optional_child("encrypt").ok_or("1")?;
        let part = |name| child_bytes(encrypt, name).ok_or("1");
        let account = self.accounts.get(number).ok_or("2")?;
        let place = *account.by_id.get(&(chat.to_owned(), id.to_owned())).ok_or("2")?;
        let kept = account.messages.get(&place).and_then(|row| row.content.as_ref()).ok_or("2")?;
        let mut content = wa::Message::decode_from_slice(&kept.0).map_err(|_| "2")?;
        let (path, key) = file_of(&mut content).ok_or("2")?;
        decrypt_media_retry_notification(&key, id, &part("enc_iv")?, &part("enc_p")?).map_err(|_| "3")?;
        let again = self.media.records().get(&*path).map(|record| record.kind.clone()).zip(self.media_bytes(path));
        let again = again.and_then(|(kind, bytes)| self.put_media(&kind, bytes).ok());
        let mut said = wa::MediaRetryNotification { stanza_id: Some(id.to_owned()), ..Default::default() };
        if let Some(again) = again {
            again.clone_into(path);
            said.direct_path = Some(again);
            said.result = Some(ResultType::SUCCESS);
            let content = Some(Blob(content.encode_to_vec()));
            if let Some(row) = self.accounts.get_mut(number).and_then(|account| account.messages.get_mut(&place)) {
                row.content = content;
            }
            self.touch(Key::Message(number.to_owned(), place));
        } else {
            said.result = Some(ResultType::NOT_FOUND);
        }
        self.seal_retry(&key, id, &said.encode_to_vec()).ok_or("1")
    }

    fn seal_retry(&self, media_key: &[u8], id: &str, plain: &[u8]) -> Option<Node> {
        let mut key = [0; 32];
        wacore::crypto::hkdf_sha256_into(media_key, None, b"WhatsApp Media Retry Notification", &mut key).ok()?;
        let nonce = self.ambient.random::<12>();
        let mut sealed = Vec::new();
        wacore_libsignal::crypto::aes_256_gcm_encrypt(&key, &nonce, id.as_bytes(), plain, &mut sealed).ok()?;
        let parts = [el("enc_p").bytes(sealed).build(), el("enc_iv").bytes(nonce.to_vec()).build()];
        Some(el("encrypt").children(parts).build())
    }

    /// The name of a chat in a phone's rows.
    pub(super) fn chat_row(&self, chat: &Jid) -> Option<String> {
        if super::has_many(chat) {
            return Some(chat.to_non_ad_string());
        }
        self.number_of(chat).map(|number| Jid::pn(number).to_string())
    }
}

/// Where the file of a message is, and its key.
pub(super) fn file_of(content: &mut wa::Message) -> Option<(&mut String, Vec<u8>)> {
    macro_rules! first {
        ($($field:ident),+ $(,)?) => {
            $(if content.$field.is_set() {
                let file = content.$field.as_option_mut()?;
                return file.media_key.clone().and_then(|key| Some((file.direct_path.as_mut()?, key)));
            })+
        };
    }
    macro_rules! inside {
        ($($field:ident),+ $(,)?) => {
            $(if content.$field.is_set() {
                return content.$field.as_option_mut()?.message.as_option_mut().and_then(file_of);
            })+
        };
    }
    first!(image_message, video_message, ptv_message, audio_message, document_message, sticker_message);
    inside!(
        ephemeral_message,
        view_once_message,
        view_once_message_v2,
        view_once_message_v2_extension,
        document_with_caption_message,
        associated_child_message,
    );
    None
}
