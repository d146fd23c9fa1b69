//! `sessions pair`: begins pairing and follows it, with the QR code in the terminal, until the number is attached or will not be.

use std::process::ExitCode;
use std::time::Duration;

use tokio::time::interval;

use super::client::{Connection, Target, call};
use super::{Failure, Outcome, output, qr, render};
use crate::domain::clock::{Ambient, Time};
use crate::proto::gateway::watch_pairing_response::Update;
use crate::proto::gateway::{
    PairingSucceeded, RequestPairingCodeRequest, SessionStatus, StartSessionRequest, WatchPairingRequest, WatchPairingResponse,
};

/// How often a lost stream is opened again before the command gives up.
const ATTEMPTS: u32 = 5;

pub(super) async fn run(target: &Target, connection: &Connection, session: String, phone: Option<String>) -> Outcome {
    let mut screen = Screen::new(target.json);
    // Watching does not begin pairing, so that comes first. Starting what runs already changes nothing.
    connection.sessions().start_session(call(StartSessionRequest { session: session.clone() })).await?;
    let by_code = phone.is_some();
    if let Some(phone) = phone {
        let request = RequestPairingCodeRequest { session: session.clone(), phone };
        let code = connection.pairing().request_pairing_code(call(request)).await?.into_inner();
        screen.show(&Update::PairingCode(code), by_code)?;
    }
    let mut lost = 0;
    loop {
        match follow(connection, &session, &mut screen, by_code).await {
            Ok(code) => return Ok(code),
            Err(failure) if failure.passes() && lost < ATTEMPTS => {
                lost += 1;
                screen.note(&format!("lost the gateway ({}), trying again", failure.line()))?;
                tokio::time::sleep(Duration::from_secs(1 << lost.min(4))).await;
            }
            Err(failure) => return Err(failure),
        }
    }
}

async fn follow(connection: &Connection, session: &str, screen: &mut Screen, by_code: bool) -> Outcome {
    let request = WatchPairingRequest { session: session.to_owned() };
    let mut updates = connection.pairing().watch_pairing(request).await?.into_inner();
    let mut second = interval(Duration::from_secs(1));
    loop {
        let WatchPairingResponse { update } = tokio::select! {
            biased;
            next = updates.message() => {
                next?.ok_or_else(|| Failure::unreachable("the stream ended before the pairing did"))?
            }
            _ = second.tick() => {
                screen.tick()?;
                continue;
            }
        };
        let Some(update) = update else { continue };
        screen.show(&update, by_code)?;
        match update {
            Update::Paired(_) => return Ok(ExitCode::SUCCESS),
            Update::Failed(failed) => return Err(Failure::other(format!("{}: {}", failed.reason, failed.message))),
            Update::Status(_)
            | Update::Qr(_)
            | Update::PairingCode(_)
            | Update::PasskeyRequired(_)
            | Update::PasskeyConfirm(_) => {}
        }
    }
}

/// What stands in the terminal: one code at a time, redrawn in place, and below it how long it is good for.
struct Screen {
    json: bool,
    /// Whether lines can be drawn over.
    terminal: bool,
    /// How many lines the present drawing has.
    drawn: usize,
    /// When the code that is shown ends.
    ends: Option<Time>,
    ambient: Ambient,
}

impl Screen {
    fn new(json: bool) -> Self {
        Self { json, terminal: output::is_terminal() && !json, drawn: 0, ends: None, ambient: Ambient::system() }
    }

    fn show(&mut self, update: &Update, by_code: bool) -> Result<(), Failure> {
        if self.json {
            let message = WatchPairingResponse { update: Some(update.clone()) };
            return output::line(render::json("WatchPairingResponse", &message)?);
        }
        match update {
            Update::Qr(_) if by_code => Ok(()),
            Update::Qr(code) => {
                let mut drawing = qr::lines(&code.code, self.terminal)?;
                drawing.push("Scan it with the phone: Settings, Linked devices, Link a device.".into());
                self.draw(&drawing, code.expires_at.as_ref())
            }
            Update::PairingCode(code) => {
                let drawing = [
                    format!("Code: {}", code.code),
                    "Type it on the phone: Settings, Linked devices, Link a device, Link with phone number instead.".into(),
                ];
                self.draw(&drawing, code.expires_at.as_ref())
            }
            Update::PasskeyRequired(_) => {
                self.note("WhatsApp wants a passkey of the account: answer it on the page of a pairing link, or by AnswerPasskey")
            }
            Update::PasskeyConfirm(it) => self.note(&format!(
                "compare with the phone: {}; the same? confirm on a pairing link's page, or by ConfirmPasskey",
                it.code
            )),
            Update::Status(status) => match SessionStatus::try_from(*status) {
                Ok(SessionStatus::ScanQrCode) => Ok(()),
                _ => self.note(&format!("status: {}", render::word("SessionStatus", *status))),
            },
            Update::Paired(PairingSucceeded { phone_number, wa_jid, wa_lid }) => {
                let lid = wa_lid.as_deref().map_or_else(String::new, |lid| format!(", {lid}"));
                self.note(&format!("paired with {phone_number} ({wa_jid}{lid})"))
            }
            // The reason is the command's error line.
            Update::Failed(_) => self.wipe(),
        }
    }

    fn draw(&mut self, lines: &[String], expires_at: Option<&prost_types::Timestamp>) -> Result<(), Failure> {
        self.wipe()?;
        lines.iter().try_for_each(output::line)?;
        self.ends = expires_at.map(|time| {
            Time::from_secs(time.seconds).plus(Duration::from_millis(u64::from(time.nanos.unsigned_abs()) / 1_000_000))
        });
        if self.terminal {
            output::line("")?;
            self.drawn = lines.len() + 1;
            self.tick()?;
        }
        Ok(())
    }

    /// Brings the countdown up to date.
    fn tick(&mut self) -> Result<(), Failure> {
        let Some(ends) = self.ends.filter(|_| self.terminal && self.drawn > 0) else { return Ok(()) };
        let left = ends.since(self.ambient.now()).as_secs();
        output::line(format_args!("\x1b[1A\r\x1b[2Kgood for {left} s"))
    }

    /// Replaces the drawing by one line.
    fn note(&mut self, text: &str) -> Result<(), Failure> {
        self.wipe()?;
        if self.json { Ok(()) } else { output::line(text) }
    }

    fn wipe(&mut self) -> Result<(), Failure> {
        self.ends = None;
        match std::mem::take(&mut self.drawn) {
            0 => Ok(()),
            drawn => output::part(format_args!("\x1b[{drawn}A\r\x1b[J")),
        }
    }
}
