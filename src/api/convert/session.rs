//! Sessions and pairings.

use super::timestamp;
use crate::domain::event::Code;
use crate::domain::pairing_link::{LinkStatus, PairingLink};
use crate::domain::session::{Reason, Session, State, Status};
use crate::proto::gateway as pb;
use crate::service::pairing::Step;

/// A session.
pub fn session(it: &Session) -> pb::Session {
    let account = it.account.as_ref();
    pb::Session {
        id: it.id.to_string(),
        organization_id: it.organization.to_string(),
        gateway_id: it.gateway.to_string(),
        created_by_user_id: it.created_by_user.clone(),
        label: it.settings.label.clone(),
        status: status(it.state.status).into(),
        status_detail: Some(detail(&it.state)),
        phone_number: account.map(|a| a.phone_number.clone()),
        wa_jid: account.map(|a| a.wa_jid.clone()),
        wa_lid: account.and_then(|a| a.wa_lid.clone()),
        is_admin_session: it.is_admin,
        auto_read: it.settings.auto_read,
        presence_typing: it.settings.presence_typing,
        auto_reject_calls: it.settings.auto_reject_calls,
        rate_per_min: it.settings.rate_per_min,
        rate_per_hour: it.settings.rate_per_hour,
        last_connected_at: it.last_connected_at.map(timestamp),
        created_at: Some(timestamp(it.created_at)),
        updated_at: Some(timestamp(it.updated_at)),
        ignore_status: it.settings.ignore.status,
        ignore_groups: it.settings.ignore.groups,
        ignore_channels: it.settings.ignore.channels,
        ignore_broadcast: it.settings.ignore.broadcast,
        metadata: it.settings.metadata.clone(),
        replayed: None,
    }
}

/// The account behind a session.
pub fn me(it: &Session, connected: bool) -> pb::Me {
    let account = it.account.as_ref();
    pb::Me {
        session_id: it.id.to_string(),
        status: status(it.state.status).into(),
        connected,
        phone_number: account.map(|a| a.phone_number.clone()),
        wa_jid: account.map(|a| a.wa_jid.clone()),
        wa_lid: account.and_then(|a| a.wa_lid.clone()),
    }
}

/// Where a session stands.
pub fn status(it: Status) -> pb::SessionStatus {
    match it {
        Status::Starting => pb::SessionStatus::Starting,
        Status::ScanQrCode => pb::SessionStatus::ScanQrCode,
        Status::Working => pb::SessionStatus::Working,
        Status::Failed => pb::SessionStatus::Failed,
        Status::Stopped => pb::SessionStatus::Stopped,
        Status::LoggedOut => pb::SessionStatus::LoggedOut,
    }
}

/// Why it stands there.
pub fn detail(it: &State) -> pb::StatusDetail {
    pb::StatusDetail {
        reason: it.reason.word().to_owned(),
        message: it.reason.sentence().to_owned(),
        since: Some(timestamp(it.since)),
        until: it.until.map(timestamp),
        data: it.data.clone(),
    }
}

/// A QR code.
pub fn qr(it: Code) -> pb::Qr {
    pb::Qr { code: it.code, expires_at: it.expires_at.map(timestamp) }
}

/// A pairing code.
pub fn pairing_code(it: Code) -> pb::PairingCode {
    pb::PairingCode { code: it.code, expires_at: it.expires_at.map(timestamp) }
}

/// One step of a pairing.
pub fn step(it: Step) -> pb::WatchPairingResponse {
    use pb::watch_pairing_response::Update;
    let update = match it {
        Step::Status(it) => Update::Status(status(it).into()),
        Step::Qr(code) => Update::Qr(qr(code)),
        Step::Code(code) => Update::PairingCode(pairing_code(code)),
        Step::Paired(account) => Update::Paired(pb::PairingSucceeded {
            phone_number: account.phone_number,
            wa_jid: account.wa_jid,
            wa_lid: account.wa_lid,
        }),
        Step::Failed(reason) => Update::Failed(failed(reason)),
        Step::PasskeyRequired(it) => {
            Update::PasskeyRequired(pb::PasskeyRequest { options: it.code, expires_at: it.expires_at.map(timestamp) })
        }
        Step::PasskeyConfirm(it) => {
            Update::PasskeyConfirm(pb::PasskeyConfirmation { code: it.code, expires_at: it.expires_at.map(timestamp) })
        }
    };
    pb::WatchPairingResponse { update: Some(update) }
}

fn failed(reason: Reason) -> pb::PairingFailed {
    pb::PairingFailed { reason: reason.word().to_owned(), message: reason.sentence().to_owned() }
}

/// A pairing link as it stands at the moment, with its URL when it is new.
pub fn pairing_link(it: &PairingLink, status: LinkStatus, url: Option<String>) -> pb::PairingLink {
    let status = match status {
        LinkStatus::Active => pb::PairingLinkStatus::Active,
        LinkStatus::Paired => pb::PairingLinkStatus::Paired,
        LinkStatus::Revoked => pb::PairingLinkStatus::Revoked,
        LinkStatus::Expired => pb::PairingLinkStatus::Expired,
    };
    pb::PairingLink {
        id: it.id.to_string(),
        session_id: it.session.to_string(),
        status: status.into(),
        created_at: Some(timestamp(it.created_at)),
        expires_at: Some(timestamp(it.expires_at)),
        url,
    }
}
