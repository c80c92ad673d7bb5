use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use tokio::time::{sleep, timeout};

use crate::{
    CommitListener, Journal, JournalError, Offset, Page, PageItem, PersistenceId, ReplayRange, Replayed,
    SeqNr, SliceRange, Tag,
};

/// Reads the events of many ids in the order of their offsets: all, those of a range of slices, or those with a tag.
///
/// [`current`](Query::current) ends with what is there now, [`live`](Query::live) goes on with what comes. Both read a page when the one
/// before is used up, so a slow reader holds a page and no more. Whoever stops goes on with [`after`](Query::after) the
/// [offset](PageItem::offset) of the last item that it has dealt with.
///
/// ```
/// use std::sync::Arc;
/// use annals_journal::{MemoryJournal, PageItem, Query};
/// use futures::StreamExt;
///
/// # futures::executor::block_on(async {
/// let journal = Arc::new(MemoryJournal::new());
/// let mut events = Query::all(journal).current();
/// while let Some(item) = events.next().await {
///     match item? {
///         PageItem::Event(event) => println!("{} {}", event.offset, event.envelope.manifest),
///         gone => println!("{} was deleted or erased", gone.offset()),
///     }
/// }
/// # Ok::<(), annals_journal::JournalError>(())
/// # }).unwrap();
/// ```
///
/// A live reader is woken by the commits of its own process, in PostgreSQL by those of all ([`Journal::commits`]); for those of others it looks from
/// time to time, see [`Query::look_every`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `current`, `live` or `pages`"]
pub struct Query {
    journal: Arc<dyn Journal>,
    selection: Selection,
    after: Offset,
    page: usize,
    shortest: Duration,
    longest: Duration,
}

#[derive(Debug, Clone)]
enum Selection {
    Slices(SliceRange),
    Tag(Tag),
}

impl Query {
    /// All events.
    pub fn all(journal: Arc<dyn Journal>) -> Self {
        Self::slices(journal, SliceRange::ALL)
    }

    /// The events of the ids in a range of slices.
    pub fn slices(journal: Arc<dyn Journal>, slices: SliceRange) -> Self {
        Self::new(journal, Selection::Slices(slices))
    }

    /// The events that carry a tag.
    pub fn tag(journal: Arc<dyn Journal>, tag: Tag) -> Self {
        Self::new(journal, Selection::Tag(tag))
    }

    /// The events of one id, in the order of their numbers.
    pub fn id(journal: Arc<dyn Journal>, id: PersistenceId) -> IdQuery {
        let all = Self::new(journal, Selection::Slices(SliceRange::ALL));
        IdQuery { range: ReplayRange::all(&id), all }
    }

    fn new(journal: Arc<dyn Journal>, selection: Selection) -> Self {
        let (shortest, longest) = (SHORTEST_PAUSE, LONGEST_PAUSE);
        Self { journal, selection, after: Offset::BEGINNING, page: PAGE, shortest, longest }
    }

    /// Begins behind an offset; default: with the first event.
    pub fn after(self, offset: Offset) -> Self {
        Self { after: offset, ..self }
    }

    /// How many items are read at a time, at least one; default 500.
    pub fn page_size(self, items: usize) -> Self {
        Self { page: items.max(1), ..self }
    }

    /// How often a live reader that is not woken looks for new events: after `shortest`, then after twice as long each time, up to `longest`.
    /// Default 10 ms and 500 ms.
    pub fn look_every(self, shortest: Duration, longest: Duration) -> Self {
        let shortest = shortest.max(Duration::from_millis(1));
        Self { shortest, longest: longest.max(shortest), ..self }
    }

    /// What is stored when it begins to be read, perhaps more.
    ///
    /// # Errors
    /// As [`Journal::events_by_slice`]. The stream ends after its first error; begin again after the last offset.
    pub fn current(self) -> BoxStream<'static, Result<PageItem, JournalError>> {
        let page = self.page;
        let pages = stream::try_unfold(Some(self.pages()), move |pages| async move {
            let Some(mut pages) = pages else { return Ok(None) };
            let found = pages.next().await?;
            let rest = (found.items.len() >= page).then_some(pages);
            Ok(Some((found, rest)))
        });
        items(pages)
    }

    /// What is stored, and then what comes, for ever.
    ///
    /// # Errors
    /// As [`Journal::events_by_slice`]. The stream ends after its first error; begin again after the last offset.
    pub fn live(self) -> BoxStream<'static, Result<PageItem, JournalError>> {
        let pages = stream::try_unfold(self.pages(), |mut pages| async move {
            loop {
                let page = pages.next().await?;
                if !page.items.is_empty() {
                    return Ok(Some((page, pages)));
                }
                pages.more().await;
            }
        });
        items(pages)
    }

    /// Reads page by page, for whoever also wants to know up to where nothing is missing.
    pub fn pages(self) -> Pages {
        Pages { listener: self.journal.commits(), query: self, idle: 0 }
    }

    async fn read(&self) -> Result<Page, JournalError> {
        match &self.selection {
            Selection::Slices(slices) => self.journal.events_by_slice(*slices, self.after, self.page).await,
            Selection::Tag(tag) => self.journal.events_by_tag(tag, self.after, self.page).await,
        }
    }

    /// The pause after so many in which nothing came.
    fn pause(&self, idle: u32) -> Duration {
        self.shortest.saturating_mul(1_u32.checked_shl(idle).unwrap_or(u32::MAX)).min(self.longest)
    }
}

fn items(
    pages: impl stream::Stream<Item = Result<Page, JournalError>> + Send + 'static,
) -> BoxStream<'static, Result<PageItem, JournalError>> {
    pages.map_ok(|page| stream::iter(page.items).map(Ok)).try_flatten().boxed()
}

/// The pages of a [`Query`], one after the other.
#[derive(Debug)]
pub struct Pages {
    query: Query,
    listener: Option<CommitListener>,
    /// Pauses since something was found.
    idle: u32,
}

impl Pages {
    /// The next page; an empty one when there is nothing more now. [`Page::complete_to`] moves on in front of events that were not asked
    /// for, too.
    ///
    /// # Errors
    /// As [`Journal::events_by_slice`]; the same page can be asked for again.
    ///
    /// # Cancel safety
    /// Nothing is passed over when the future is dropped.
    pub async fn next(&mut self) -> Result<Page, JournalError> {
        let page = self.query.read().await?;
        self.query.after = self.query.after.max(page.complete_to);
        if !page.items.is_empty() {
            self.idle = 0;
        }
        Ok(page)
    }

    /// Goes on behind an offset.
    pub fn seek(&mut self, after: Offset) {
        self.query.after = after;
    }

    /// Waits until there may be something new: for a commit in this process, or for the time to look.
    ///
    /// # Cancel safety
    /// Nothing is missed when the future is dropped.
    pub async fn more(&mut self) {
        let pause = self.query.pause(self.idle);
        let heard = match &mut self.listener {
            Some(listener) => timeout(pause, listener.heard()).await.is_ok(),
            None => {
                sleep(pause).await;
                false
            }
        };
        self.idle = if heard { 0 } else { self.idle + 1 };
    }
}

/// Reads the events of one id in the order of their numbers; made by [`Query::id`].
#[derive(Debug, Clone)]
#[must_use = "nothing is read before `current` or `live`"]
pub struct IdQuery {
    range: ReplayRange,
    all: Query,
}

impl IdQuery {
    /// Begins with a number; default: the first.
    pub fn from(self, from: SeqNr) -> Self {
        Self { range: self.range.from(from), ..self }
    }

    /// What is stored when it begins to be read.
    ///
    /// # Errors
    /// As [`Journal::replay`]. The stream ends after its first error.
    pub fn current(self) -> BoxStream<'static, Result<Replayed, JournalError>> {
        self.all.journal.replay(self.range)
    }

    /// What is stored, and then what comes, for ever.
    ///
    /// # Errors
    /// As [`Journal::replay`]. The stream ends after its first error; begin again behind the last number.
    pub fn live(self) -> BoxStream<'static, Result<Replayed, JournalError>> {
        let Self { range, all } = self;
        let replays = stream::unfold((range, all.pages()), |(range, mut pages)| async move {
            loop {
                match pages.query.journal.head(&range.persistence_id).await {
                    Ok(head) if head.seq_nr < range.from => pages.more().await,
                    Ok(head) => {
                        pages.idle = 0;
                        let found = pages.query.journal.replay(range.clone().to(head.seq_nr));
                        return Some((found, (range.from(head.seq_nr.next()), pages)));
                    }
                    Err(error) => {
                        return Some((stream::iter([Err(error)]).boxed(), (range, pages)));
                    }
                }
            }
        });
        until_first_error(replays.flatten()).boxed()
    }
}

/// Ends a stream behind its first error.
fn until_first_error<T: Send>(
    items: impl stream::Stream<Item = Result<T, JournalError>> + Send + 'static,
) -> impl stream::Stream<Item = Result<T, JournalError>> + Send {
    items.scan(false, |failed, item| {
        let ended = std::mem::replace(failed, item.is_err());
        std::future::ready((!ended).then_some(item))
    })
}

const PAGE: usize = 500;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
