//! Load: many devices on real connections that write to each other at a given rate, and a report of what came through.
//!
//! The devices are light: they come by XX, register, are linked, publish keys, and send, receive and acknowledge like any device. Only
//! the ciphertexts between them are noise: no server can look into them, and the phones get none of them. With [`Senders::Phones`] the
//! simulated phones write instead, with real ciphertexts for every device, and the devices take them without looking.

mod device;
mod ledger;
mod usage;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use rand::RngExt as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::device::{Linked, Mouth};
use self::ledger::Ledger;
pub use self::ledger::Spread;
pub use self::usage::Usage;
use super::Sandbox;
use crate::domain::clock::Ambient;

/// The first number of the load's phones.
const FIRST: u64 = 628_990_000_000;

/// How many devices are linked at a time.
const AT_ONCE: usize = 32;

/// How long nothing may come through at the end before the rest counts as lost.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// The linked devices, with opaque ciphertexts.
    Devices,
    /// The simulated phones, with real ones.
    Phones,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Where the simulated WhatsApp listens.
    pub address: SocketAddr,
    /// How many phones, each with one device.
    pub phones: usize,
    /// Messages a second, of all together.
    pub rate: f64,
    /// How long they write.
    pub duration: Duration,
    /// Who writes.
    pub senders: Senders,
    /// The process whose use of the machine is told; this one when absent. Linux only.
    pub pid: Option<u32>,
}

/// What the load needs from the phones.
#[async_trait]
pub trait Phones: Send + Sync {
    /// Makes a phone, unless there is one with this number.
    async fn create(&self, number: &str) -> Result<()>;
    /// The phone scans a code.
    async fn scan(&self, number: &str, code: &str) -> Result<()>;
    /// The phone writes to another number; gives the message's id.
    async fn send(&self, from: &str, to: &str, text: &str) -> Result<String>;
}

#[async_trait]
impl Phones for Sandbox {
    async fn create(&self, number: &str) -> Result<()> {
        match self.create_phone(number, "", false).await {
            Err(error) if error.reason == Some("phone_exists") => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    async fn scan(&self, number: &str, code: &str) -> Result<()> {
        Ok(self.scan_qr(number, code).await.map(drop)?)
    }

    async fn send(&self, from: &str, to: &str, text: &str) -> Result<String> {
        Ok(self.send_message(from, to, text).await?.id)
    }
}

/// What came through.
#[derive(Clone, Debug)]
pub struct Report {
    /// Phones, each with one device.
    pub phones: usize,
    /// How long it took to make and link them.
    pub linking: Duration,
    /// How long they wrote.
    pub writing: Duration,
    /// Messages that were sent.
    pub sent: u64,
    /// Of them, how many the server refused or could not take.
    pub refused: u64,
    /// Of them, how many a device of the recipient has got.
    pub arrived: u64,
    /// How many came more than once.
    pub repeated: u64,
    /// Of how many the sender has learned that they were delivered.
    pub delivered: u64,
    /// Of how many the sender has learned that they were read.
    pub read: u64,
    /// Devices whose connection ended before the end.
    pub lost_connections: u64,
    /// From sending until the recipient's device has it.
    pub to_recipient: Spread,
    /// From sending until the sender knows that it was delivered.
    pub to_receipt: Spread,
    /// The process before the phones were made, with all of them connected, and at the end.
    pub usage: [Option<Usage>; 3],
}

/// Makes the phones, lets them write, and waits for what is on its way. Fails when a phone cannot be made or linked.
pub async fn run(config: &LoadConfig, phones: Arc<dyn Phones>, ambient: &Ambient) -> Result<Report> {
    let before = Usage::of(config.pid);
    let began = Instant::now();
    let ledger = Arc::new(Ledger::default());
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let numbers: Vec<String> = (FIRST..).take(config.phones).map(|number| number.to_string()).collect();
    let linking = stream::iter(numbers.clone()).map(|number| {
        let (phones, ambient, ledger) = (Arc::clone(&phones), ambient.clone(), Arc::clone(&ledger));
        let (stop, tasks) = (stop.clone(), tasks.clone());
        async move {
            phones.create(&number).await.with_context(|| format!("the phone {number}"))?;
            let linked = Linked::link(config.address, &number, &*phones, &ambient).await;
            let linked = linked.with_context(|| format!("linking a device of {number}"))?;
            let address = linked.address();
            let (mouth, ear) = linked.split();
            tasks.spawn(ear.listen(mouth.clone(), ledger, stop));
            anyhow::Ok((address, mouth))
        }
    });
    let devices: Vec<((String, u16), Mouth)> = linking.buffered(AT_ONCE).try_collect().await?;
    let (addresses, mouths): (Vec<_>, Vec<_>) = devices.into_iter().unzip();
    let addresses = Arc::new(addresses);
    let linking = began.elapsed();
    let connected = Usage::of(config.pid);

    let began = Instant::now();
    let pause = Duration::from_secs_f64(config.phones as f64 / config.rate);
    let talking = TaskTracker::new();
    for (own, mouth) in mouths.iter().enumerate() {
        let talker = Talker {
            own,
            mouth: mouth.clone(),
            addresses: Arc::clone(&addresses),
            phones: (config.senders == Senders::Phones).then(|| Arc::clone(&phones)),
            ledger: Arc::clone(&ledger),
            pause,
            until: began + config.duration,
        };
        talking.spawn(talker.talk(ambient.rng()));
    }
    talking.close();
    talking.wait().await;
    let writing = began.elapsed();
    ledger.settle(PATIENCE).await;
    let lost_connections = u64::try_from(config.phones - tasks.len()).unwrap_or(0);
    let after = Usage::of(config.pid);
    stop.cancel();
    tasks.close();
    tasks.wait().await;
    let mut report = ledger.report();
    (report.phones, report.linking, report.writing) = (config.phones, linking, writing);
    (report.lost_connections, report.usage) = (lost_connections, [before, connected, after]);
    Ok(report)
}

/// One account's part of the talk.
struct Talker {
    own: usize,
    mouth: Mouth,
    addresses: Arc<Vec<(String, u16)>>,
    phones: Option<Arc<dyn Phones>>,
    ledger: Arc<Ledger>,
    pause: Duration,
    until: Instant,
}

impl Talker {
    /// Writes to others by lot until the time is over, evenly and not all at once.
    async fn talk(self, mut dice: rand::rngs::StdRng) {
        let mut next = Instant::now() + self.pause.mul_f64(dice.random());
        while next < self.until {
            tokio::time::sleep_until(next.into()).await;
            // Never itself, as long as there is anybody else.
            let step = 1 + dice.random_range(0..self.addresses.len().max(2) - 1);
            let Some((peer, device)) = self.addresses.get((self.own + step) % self.addresses.len()) else { return };
            let began = Instant::now();
            match &self.phones {
                None => {
                    let id = self.ledger.new_id();
                    self.ledger.sent(&id, began);
                    if self.mouth.write(&id, peer, *device).await.is_err() {
                        self.ledger.refused();
                    }
                }
                Some(phones) => {
                    let from = self.addresses.get(self.own).map(|(number, _)| number.as_str()).unwrap_or_default();
                    match phones.send(from, peer, "a message of the load").await {
                        Ok(id) => self.ledger.sent(&id, began),
                        Err(_) => self.ledger.refused(),
                    }
                }
            }
            next += self.pause;
        }
    }
}
