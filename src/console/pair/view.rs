//! What the page shows: the whole of it at every change, so that a page that reconnects needs nothing else.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use qrcode::QrCode;
use qrcode::render::svg;
use serde::Serialize;
use serde_json::Value;

use crate::domain::clock::Time;
use crate::domain::event::Code;
use crate::domain::pairing_link::LinkStatus;
use crate::domain::session::Status;
use crate::service::pairing::Step;

/// Which of its faces the page shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Face {
    /// Nothing to do yet.
    #[default]
    Wait,
    /// A QR code can be scanned, or a number be given.
    Scan,
    /// WhatsApp wants a passkey.
    Passkey,
    /// The codes are to be compared.
    Confirm,
    /// The number is attached. The last one.
    Paired,
    /// It did not work; the person may try again. The last one.
    Failed,
    /// The link has ended. The last one.
    Over,
}

/// What the page shows now.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct View {
    pub(super) face: Face,
    /// The QR code as a picture's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) qr: Option<String>,
    /// The pairing code, or the code to compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// When the code ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code_until: Option<Time>,
    /// WhatsApp's passkey request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) options: Option<Value>,
    /// The attached number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) phone: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) message: Option<&'static str>,
}

impl View {
    /// Shows a step.
    pub(super) fn take(&mut self, step: Step) {
        match step {
            Step::Status(status) => self.status(status),
            Step::Qr(qr) => *self = Self { face: Face::Scan, qr: picture(&qr.code), ..std::mem::take(self) },
            Step::Code(Code { code, expires_at }) => (self.code, self.code_until) = (Some(code), expires_at),
            Step::PasskeyRequired(it) => {
                *self = Self { face: Face::Passkey, options: serde_json::from_str(&it.code).ok(), ..Self::default() };
            }
            Step::PasskeyConfirm(it) => {
                *self = Self { face: Face::Confirm, code: Some(it.code), code_until: it.expires_at, ..Self::default() };
            }
            Step::Paired(account) => *self = Self { face: Face::Paired, phone: Some(account.phone_number), ..Self::default() },
            Step::Failed(reason) => *self = Self { face: Face::Failed, message: Some(reason.sentence()), ..Self::default() },
        }
    }

    fn status(&mut self, status: Status) {
        match status {
            Status::Starting | Status::Working => *self = Self::default(),
            // With what is there to be done, unless a step behind it says otherwise.
            Status::ScanQrCode if self.qr.is_some() => {}
            Status::ScanQrCode => *self = Self::default(),
            // The step behind it says why; a session that had ended before says nothing more.
            Status::Failed | Status::Stopped | Status::LoggedOut => *self = Self::default(),
        }
    }

    /// Shows the link's end.
    pub(super) fn end(&mut self, ended: LinkStatus) {
        let face = if ended == LinkStatus::Paired { Face::Paired } else { Face::Over };
        *self = Self { face, phone: self.phone.take(), ..Self::default() };
    }

    /// Whether nothing comes behind it.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.face, Face::Paired | Face::Failed | Face::Over)
    }
}

/// A QR code as a `data:` address: dark on white in any colour scheme, with the quiet zone that scanners need.
fn picture(text: &str) -> Option<String> {
    let code = QrCode::new(text).ok()?;
    let svg = code.render::<svg::Color<'_>>().min_dimensions(300, 300).quiet_zone(true).build();
    Some(format!("data:image/svg+xml;base64,{}", BASE64_STANDARD.encode(svg)))
}
