//! Faults on command: what can go wrong, when, and what did.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::server::World;
use super::{Inner, Sandbox};
use crate::domain::clock::Time;
use crate::error::{Error, Result};

/// Moments that a fault's report keeps.
pub(super) const REPORTED: usize = 100;

/// The shortest mean distance of scheduled faults.
const SHORTEST: Duration = Duration::from_millis(10);

/// The longest pause that a fault may cause.
const LONGEST: Duration = Duration::from_secs(600);

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FaultKind {
    /// The socket is dropped without a word.
    Drop,
    /// The socket stays open, but nothing is read from it or written to it any more.
    HalfOpen,
    /// Nothing is written for a while, then all of it.
    Stall,
    /// From now on the connection gets its bytes slowly, in small pieces.
    Slow,
    /// `<stream:error code>`, then the socket is closed.
    StreamError,
    /// The stream error that says that another connection took the device's place.
    Replaced,
    /// The stream error that says that the device was removed. The account keeps it.
    DeviceRemoved,
    /// `<xmlstreamend>`, then the socket is closed.
    StreamEnd,
    /// The login is refused.
    RefuseLogin,
    /// The login is not answered.
    IgnoreLogin,
    /// A question is not answered, and changes nothing.
    IgnoreIq,
    /// A question is answered after a while.
    LateIq,
    /// A question is refused, and changes nothing.
    RefuseIq,
    /// A sent message is refused by the server and goes nowhere.
    RefuseMessage,
    /// The ciphertexts of a delivered message are damaged.
    Corrupt,
    /// Something is delivered twice.
    Duplicate,
    /// Something is delivered after what comes next.
    Reorder,
    /// An acknowledgement is forgotten: what was acknowledged is delivered again at the next login.
    Redeliver,
    /// A device's keys are handed out without a one-time prekey.
    NoPrekeys,
    /// A change of the app state is refused as a conflict.
    AppStateConflict,
    /// The QR codes that a client gets have expired already.
    ExpiredQr,
    /// A client that wants to be paired gets no QR codes.
    NoQr,
    /// The media host answers 404.
    MediaNotFound,
    /// The media host answers 410.
    MediaGone,
    /// The media host answers with the code, by default 503; 401 and 403 make clients ask for a new right.
    MediaRefused,
    /// A file comes down slowly.
    MediaSlow,
    /// Half of a file comes down, as if it were all.
    MediaTruncated,
    /// A file comes down damaged.
    MediaCorrupted,
    /// After a link the restart (`<stream:error code="515">`) comes at once, or after the duration.
    Restart,
    /// Messages to people whom the account has no chat with are refused, until the duration has passed.
    RefuseNewChats,
}

/// A fault to arm.
#[derive(Clone, Debug)]
pub struct FaultSpec {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Only with this account; any when empty. Unpaired devices have the number [`super::PLACEHOLDER`].
    pub phone_number: String,
    /// Only with stanzas whose name is this or begins with it: `message`, `iq/w:g2`, `iq/w:g2/query`; any when empty. A fault of the
    /// connection without a stanza strikes at once, or at the next login.
    pub stanza: String,
    /// How often it strikes at most; `None` without end.
    pub count: Option<u32>,
    /// How likely it strikes when it could; `None` always.
    pub probability: Option<f64>,
    /// Where its dice begin.
    pub seed: i64,
    /// The code, for kinds that have one.
    pub code: Option<u16>,
    /// The duration, for kinds that have one.
    pub duration: Option<Duration>,
    /// The rate, for `Slow`.
    pub bytes_per_second: Option<u32>,
}

impl FaultSpec {
    /// A fault that strikes once, anywhere.
    pub fn once(kind: FaultKind) -> Self {
        Self {
            kind,
            phone_number: String::new(),
            stanza: String::new(),
            count: Some(1),
            probability: None,
            seed: 0,
            code: None,
            duration: None,
            bytes_per_second: None,
        }
    }

    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        if self.probability.is_some_and(|p| !(p > 0.0 && p <= 1.0)) {
            return Err(Error::field("probability", "must be above 0 and at most 1"));
        }
        let until_then = matches!(self.kind, FaultKind::RefuseLogin | FaultKind::RefuseNewChats);
        if !until_then && self.duration.is_some_and(|duration| duration > LONGEST) {
            return Err(Error::field("durationMs", "must be at most ten minutes"));
        }
        Ok(())
    }

    /// Whether it is a fault of a connection, which can strike without a stanza.
    pub(super) fn of_connection(&self) -> bool {
        use FaultKind::{DeviceRemoved, Drop, HalfOpen, Replaced, Slow, Stall, StreamEnd, StreamError};
        matches!(self.kind, Drop | HalfOpen | Stall | Slow | StreamError | Replaced | DeviceRemoved | StreamEnd)
    }

    /// Whether it may strike this account with a stanza of this name.
    pub(super) fn fits(&self, number: &str, stanza: &str) -> bool {
        let begins = stanza.strip_prefix(self.stanza.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        (self.phone_number.is_empty() || self.phone_number == number) && (self.stanza.is_empty() || begins)
    }
}

/// One moment in which a fault struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    /// When.
    pub at: Time,
    /// The account.
    pub phone_number: String,
    /// The device.
    pub device: u16,
    /// The stanza's name; empty when it struck a connection as such.
    pub stanza: String,
}

/// An armed fault and what it did.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its id.
    pub id: u64,
    /// What it is.
    pub spec: FaultSpec,
    /// How often it has struck.
    pub injected: u64,
    /// The last moments in which it struck, oldest first.
    pub injections: Vec<Injection>,
}

/// Faults that strike accounts again and again for a while.
#[derive(Clone, Debug)]
pub struct ScheduleSpec {
    /// What is drawn from, each as likely as the others.
    pub kinds: Vec<FaultKind>,
    /// Whom it strikes; all accounts that there are when empty.
    pub phone_numbers: Vec<String>,
    /// Only with such stanzas; any when empty.
    pub stanza: String,
    /// How long it takes on average from one fault of an account to its next.
    pub interval: Duration,
    /// How long it runs.
    pub run: Duration,
    /// Where the dice begin.
    pub seed: i64,
    /// The code, for kinds that have one.
    pub code: Option<u16>,
    /// The duration of one fault, for kinds that have one.
    pub duration: Option<Duration>,
    /// The rate, for `Slow`.
    pub bytes_per_second: Option<u32>,
}

impl ScheduleSpec {
    /// Refuses what makes no sense.
    pub(super) fn check(&self) -> Result<()> {
        if self.kinds.is_empty() {
            return Err(Error::field("kinds", "must name at least one kind"));
        }
        if self.interval < SHORTEST {
            return Err(Error::field("intervalMs", "must be at least 10"));
        }
        if self.duration.is_some_and(|duration| duration > LONGEST) {
            return Err(Error::field("durationMs", "must be at most ten minutes"));
        }
        Ok(())
    }
}

/// What a schedule did with one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledCount {
    /// The kind.
    pub kind: FaultKind,
    /// How often it came due.
    pub due: u64,
    /// How often it has struck.
    pub injected: u64,
}

/// One moment in which a scheduled fault struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScheduledInjection {
    /// What it was.
    pub kind: FaultKind,
    /// Whom and when.
    pub injection: Injection,
}

/// A schedule and what it did.
#[derive(Clone, Debug)]
pub struct FaultSchedule {
    /// Its id.
    pub id: u64,
    /// What it is.
    pub spec: ScheduleSpec,
    /// When it began.
    pub started_at: Time,
    /// When it ends.
    pub ends_at: Time,
    /// Whether it has not ended yet.
    pub running: bool,
    /// How many accounts it strikes.
    pub accounts: usize,
    /// What came of it, by kind.
    pub counts: Vec<ScheduledCount>,
    /// The last moments in which it struck, oldest first.
    pub injections: Vec<ScheduledInjection>,
}

impl Sandbox {
    /// Arms a fault; one of the connection that names no stanza strikes at once. Fails when the fault makes no sense or there are 1000.
    pub fn create_fault(&self, spec: FaultSpec) -> Result<Fault> {
        self.inner.act(|world| world.arm(spec))
    }

    /// All faults with what they did, oldest first.
    pub fn list_faults(&self) -> Vec<Fault> {
        self.inner.world().list_faults()
    }

    /// Disarms a fault. Fails when there is none with this id.
    pub fn delete_fault(&self, id: u64) -> Result<()> {
        self.inner.act(|world| world.disarm(id))
    }

    /// Disarms all faults.
    pub fn delete_faults(&self) {
        self.inner.act(World::disarm_all);
    }

    /// Begins a schedule of faults. Fails when it makes no sense, names a number without a phone, or there are 100. Needs a tokio
    /// runtime.
    pub fn create_fault_schedule(&self, spec: ScheduleSpec) -> Result<FaultSchedule> {
        let (schedule, over) = self.inner.act(|world| world.begin_schedule(spec))?;
        // Belongs to the schedule: it ends with it, and with the world.
        let task = run_schedule(Arc::downgrade(&self.inner), schedule.id);
        tokio::spawn(over.run_until_cancelled_owned(task));
        Ok(schedule)
    }

    /// All schedules with what they did, oldest first.
    pub fn list_fault_schedules(&self) -> Vec<FaultSchedule> {
        self.inner.world().list_schedules()
    }

    /// Ends a schedule and forgets it. Fails when there is none with this id.
    pub fn delete_fault_schedule(&self, id: u64) -> Result<()> {
        self.inner.act(|world| world.end_schedule(id))
    }
}

/// Strikes whenever a schedule's next moment has come, until it is over.
async fn run_schedule(inner: Weak<Inner>, id: u64) {
    loop {
        let Some(wait) = inner.upgrade().and_then(|inner| inner.act(|world| world.advance_schedule(id))) else { return };
        tokio::time::sleep(wait.max(Duration::from_millis(1))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_by_whole_parts() {
        let spec = |stanza: &str| FaultSpec { stanza: stanza.into(), ..FaultSpec::once(FaultKind::IgnoreIq) };
        for (filter, name, fits) in [
            ("", "iq/w:g2/query", true),
            ("iq", "iq/w:g2/query", true),
            ("iq/w:g2", "iq/w:g2/query", true),
            ("iq/w:g", "iq/w:g2/query", false),
            ("iq/w:g2/query", "iq/w:g2", false),
            ("message", "message", true),
        ] {
            assert_eq!(spec(filter).fits("1", name), fits, "{filter} {name}");
        }
        assert!(!FaultSpec { phone_number: "2".into(), ..spec("") }.fits("1", "iq"));
    }

    #[test]
    fn nonsense_is_refused() {
        let spec = FaultSpec::once(FaultKind::Stall);
        assert!(spec.check().is_ok());
        for probability in [0.0, -1.0, 1.1, f64::NAN] {
            assert!(FaultSpec { probability: Some(probability), ..spec.clone() }.check().is_err());
        }
        assert!(FaultSpec { duration: Some(Duration::from_secs(601)), ..spec }.check().is_err());
    }
}
