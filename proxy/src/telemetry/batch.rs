//! What a worker hands to the writing thread at a time. A request's record is handed over as it was
//! kept and rendered there, one after the other by code that stays in the processor's caches; what it
//! has in common with others, the fields of its connection and of its caller, goes along once.

use std::sync::Arc;

use super::account::Account;
use super::draft;
use super::fields::Fields;
use super::stamp::Stamps;

/// Records in the order in which they ended.
#[derive(Debug, Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    /// What each entry alone has, in the same order.
    texts: Vec<u8>,
    /// What entries have in common.
    shared: Vec<Arc<[u8]>>,
    /// Bytes that all of this keeps from others' use.
    weight: usize,
}

#[derive(Debug)]
enum Entry {
    /// A whole line.
    Line { length: usize },
    Request {
        places: Places,
        length: usize,
        account: Account,
    },
}

/// Where among what is shared the fields of a connection and of its caller are. Kept with the
/// connection as a guess, which holds for as long as the batch lasts.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    client: usize,
    caller: usize,
}

/// A record that waits to be rendered.
#[derive(Debug)]
pub(super) enum Kept<'a> {
    /// It was rendered before.
    Line(&'a [u8]),
    /// A request's.
    Request {
        client: &'a [u8],
        caller: &'a [u8],
        texts: &'a [u8],
        account: &'a Account,
    },
}

impl Batch {
    /// An empty one that need not grow for as long as it is filled.
    pub(super) fn with_room() -> Self {
        Self {
            entries: Vec::with_capacity(WEIGHT_MAX / size_of::<Entry>()),
            texts: Vec::with_capacity(WEIGHT_MAX),
            shared: Vec::with_capacity(SHARED_USUALLY),
            weight: 0,
        }
    }

    /// How many records it holds.
    pub(super) fn records(&self) -> u64 {
        self.entries.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.weight >= WEIGHT_MAX
    }

    /// Takes a line with its end.
    pub(super) fn line(&mut self, line: &[u8]) {
        self.push(Entry::Line { length: line.len() }, line);
    }

    /// Takes the record of a request. `client` and `caller` are what records say of its connection and
    /// of who called, and `guess` is where they were when this was last called for the connection.
    /// Gives where they are now.
    pub(super) fn request(
        &mut self,
        guess: Places,
        [client, caller]: [&Arc<[u8]>; 2],
        texts: &[u8],
        account: Account,
    ) -> Places {
        let places = Places {
            client: self.share(client, guess.client),
            caller: self.share(caller, guess.caller),
        };
        let length = texts.len();
        self.push(
            Entry::Request {
                places,
                length,
                account,
            },
            texts,
        );
        places
    }

    fn push(&mut self, entry: Entry, text: &[u8]) {
        self.entries.push(entry);
        self.texts.extend_from_slice(text);
        self.weight += size_of::<Entry>() + text.len();
    }

    /// The pointers are equal only while the batch itself keeps the part alive: no wrong guess passes.
    fn share(&mut self, part: &Arc<[u8]>, guess: usize) -> usize {
        let there = self.shared.get(guess);
        if there.is_some_and(|there| Arc::ptr_eq(there, part)) {
            return guess;
        }
        self.shared.push(Arc::clone(part));
        self.weight += size_of::<Arc<[u8]>>() + part.len();
        self.shared.len() - 1
    }

    /// All records, in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Kept<'_>> {
        let mut rest = &*self.texts;
        let shared = |place: usize| self.shared.get(place).map_or(&[][..], |part| part);
        self.entries.iter().map(move |entry| {
            let (Entry::Line { length } | Entry::Request { length, .. }) = entry;
            let (texts, after) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
            rest = after;
            match entry {
                Entry::Line { .. } => Kept::Line(texts),
                Entry::Request {
                    places, account, ..
                } => Kept::Request {
                    client: shared(places.client),
                    caller: shared(places.caller),
                    texts,
                    account,
                },
            }
        })
    }

    /// Forgets all records and keeps the room.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.texts.clear();
        self.shared.clear();
        self.weight = 0;
    }
}

impl Kept<'_> {
    /// Appends the record's line.
    pub(super) fn render(&self, fields: &mut Fields<'_>, stamps: &Stamps) {
        match self {
            Self::Line(line) => fields.rendered(line),
            Self::Request {
                client,
                caller,
                texts,
                account,
            } => {
                fields.begin(&stamps.of(account.begun, account.ended));
                fields.rendered(client);
                fields.rendered(caller);
                draft::render(texts, fields);
                account.render(fields);
                fields.end();
            }
        }
    }
}

/// A batch is handed over once it weighs this much, bytes: some five hundred requests.
const WEIGHT_MAX: usize = 128 * 1024;
/// Connections and callers in a batch, in most.
const SHARED_USUALLY: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogFormat;
    use crate::telemetry::reason::Ending;

    fn part(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    fn account(status: u16) -> Account {
        Account {
            status,
            ending: Ending::Complete,
            ..Account::begin(0)
        }
    }

    fn lines(batch: &Batch) -> Vec<String> {
        let stamps = Stamps::default();
        let line = |kept: Kept<'_>| {
            let mut line = Vec::new();
            kept.render(&mut Fields::new(&mut line, LogFormat::Text), &stamps);
            let line = String::from_utf8(line).unwrap();
            let (shown, _) = line.split_once(" bytes_in").unwrap_or((&line, ""));
            let (_, shown) = shown.split_once(' ').unwrap();
            shown.to_owned()
        };
        batch.iter().map(line).collect()
    }

    #[test]
    fn what_records_share_is_taken_once_and_shown_in_each() {
        let (one, two) = (part(" connection=1"), part(" connection=2"));
        let (ann, bob) = (part(" subject=ann"), part(" subject=bob"));
        let mut batch = Batch::default();
        let mut first = batch.request(Places::default(), [&one, &ann], b"", account(200));
        let second = batch.request(Places::default(), [&two, &bob], b"", account(201));
        first = batch.request(first, [&one, &ann], b"", account(202));
        // Judged anew in the middle of a connection.
        first = batch.request(first, [&one, &bob], b"", account(203));
        batch.line(b"time=T connection=3 event=connection\n");
        batch.request(second, [&two, &bob], b"", account(204));
        batch.request(first, [&one, &bob], b"", account(205));
        assert_eq!(batch.records(), 7);
        assert_eq!(batch.shared.len(), 5);
        let shown = lines(&batch);
        assert_eq!(
            shown,
            [
                "connection=1 subject=ann status=200",
                "connection=2 subject=bob status=201",
                "connection=1 subject=ann status=202",
                "connection=1 subject=bob status=203",
                "connection=3 event=connection\n",
                "connection=2 subject=bob status=204",
                "connection=1 subject=bob status=205",
            ]
        );
    }

    /// A connection's guess is from a batch that is gone, whose parts' memory others may have now.
    #[test]
    fn a_wrong_guess_costs_a_place_and_no_truth() {
        let (one, two, ann) = (part(" connection=1"), part(" connection=2"), part(""));
        let mut batch = Batch::default();
        let guess = batch.request(Places::default(), [&one, &ann], b"", account(200));
        batch.clear();
        assert!(batch.is_empty() && batch.shared.is_empty());
        batch.request(guess, [&two, &ann], b"", account(201));
        batch.request(guess, [&one, &ann], b"", account(202));
        assert_eq!(
            lines(&batch),
            ["connection=2 status=201", "connection=1 status=202"]
        );
    }

    #[test]
    fn all_that_a_batch_holds_has_its_weight() {
        let caller: Arc<[u8]> = vec![b'x'; WEIGHT_MAX].into();
        let mut batch = Batch::default();
        batch.request(Places::default(), [&part(""), &caller], b"", account(200));
        assert!(batch.is_full());
        batch.clear();
        assert!(!batch.is_full());
        for _ in 0..=WEIGHT_MAX / size_of::<Entry>() {
            batch.line(b"");
        }
        assert!(batch.is_full());
        batch.clear();
        batch.line(&vec![b'x'; WEIGHT_MAX]);
        assert!(batch.is_full());
    }
}
