//! What was sent and what came of it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Report;

/// A message on its way. It may arrive before its sender knows its id.
#[derive(Clone, Copy, Default)]
struct Row {
    sent: Option<Instant>,
    arrived: Option<Instant>,
    delivered: Option<Instant>,
    arrivals: u32,
    read: bool,
}

/// The median and the 99th of a hundred, in order of size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread {
    /// Half of them are shorter.
    pub median: Duration,
    /// Ninety-nine of a hundred are shorter.
    pub p99: Duration,
}

impl Spread {
    fn of(mut spans: Vec<Duration>) -> Self {
        spans.sort_unstable();
        let at = |percent: usize| spans.get((spans.len() * percent / 100).min(spans.len().saturating_sub(1))).copied();
        Self { median: at(50).unwrap_or_default(), p99: at(99).unwrap_or_default() }
    }
}

/// All messages, by id.
#[derive(Default)]
pub(super) struct Ledger {
    rows: Mutex<HashMap<String, Row>>,
    next: AtomicU64,
    refused: AtomicU64,
}

impl Ledger {
    fn rows(&self) -> MutexGuard<'_, HashMap<String, Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn new_id(&self) -> String {
        format!("3ALOAD{:014X}", self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) fn sent(&self, id: &str, at: Instant) {
        self.rows().entry(id.to_owned()).or_default().sent = Some(at);
    }

    pub(super) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn arrived(&self, id: String) {
        let now = Instant::now();
        let mut rows = self.rows();
        let row = rows.entry(id).or_default();
        row.arrivals += 1;
        row.arrived.get_or_insert(now);
    }

    pub(super) fn receipt(&self, id: String, read: bool) {
        let now = Instant::now();
        // What is not of the load may have receipts too; only what was sent or has arrived is known.
        if let Entry::Occupied(mut row) = self.rows().entry(id) {
            if read {
                row.get_mut().read = true;
            } else {
                row.get_mut().delivered.get_or_insert(now);
            }
        }
    }

    /// Waits until everything has come through, or nothing has come through for a while.
    pub(super) async fn settle(&self, patience: Duration) {
        let (mut seen, mut since) = (self.open(), Instant::now());
        while seen > 0 && since.elapsed() < patience {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let open = self.open();
            if open != seen {
                (seen, since) = (open, Instant::now());
            }
        }
    }

    /// How many steps are missing.
    fn open(&self) -> usize {
        let missing =
            |row: &Row| usize::from(row.arrived.is_none()) + usize::from(row.delivered.is_none()) + usize::from(!row.read);
        self.rows().values().filter(|row| row.sent.is_some()).map(missing).sum()
    }

    pub(super) fn report(&self) -> Report {
        let rows = self.rows();
        let sent = || rows.values().filter_map(|row| Some((row.sent?, row)));
        let count = |wanted: fn(&Row) -> bool| u64::try_from(sent().filter(|(_, row)| wanted(row)).count()).unwrap_or(0);
        let spread = |until: fn(&Row) -> Option<Instant>| {
            Spread::of(sent().filter_map(|(at, row)| Some(until(row)?.saturating_duration_since(at))).collect())
        };
        Report {
            phones: 0,
            linking: Duration::ZERO,
            writing: Duration::ZERO,
            sent: count(|_| true),
            refused: self.refused.load(Ordering::Relaxed),
            arrived: count(|row| row.arrived.is_some()),
            repeated: count(|row| row.arrivals > 1),
            delivered: count(|row| row.delivered.is_some()),
            read: count(|row| row.read),
            lost_connections: 0,
            to_recipient: spread(|row| row.arrived),
            to_receipt: spread(|row| row.delivered),
            usage: [None; 3],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_where_half_and_nearly_all_are() {
        let spans = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(Spread::of(spans), Spread { median: Duration::from_millis(51), p99: Duration::from_millis(100) });
        assert_eq!(Spread::of(Vec::new()), Spread::default());
    }

    #[test]
    fn a_message_may_arrive_before_its_sender_knows_its_id() {
        let ledger = Ledger::default();
        let began = Instant::now();
        ledger.arrived("a".into());
        ledger.arrived("a".into());
        ledger.sent("a", began);
        ledger.receipt("a".into(), false);
        ledger.receipt("never-sent".into(), true);
        ledger.sent("b", began);
        let report = ledger.report();
        assert_eq!((report.sent, report.arrived, report.repeated, report.delivered, report.read), (2, 1, 1, 1, 0));
        assert_eq!(ledger.open(), 4);
    }
}
