//! Where everything the shell says comes out.
//!
//! Results go to standard output, complaints to standard error, as Java's shell does. Events arrive from another task
//! at any time; while a line is being edited they are printed above it. A closed pipe is no error.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustyline::ExternalPrinter;
use serde_json::json;

/// A `WatchedEvent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// The session's state, e.g. `SyncConnected`.
    pub state: String,
    /// What happened, `None` for the session itself.
    pub kind: String,
    /// The node, absent for the session itself.
    pub path: Option<String>,
    /// The transaction, −1 where none made the event.
    pub zxid: i64,
}

impl Event {
    /// An event of the session.
    pub fn session(state: impl ToString) -> Event {
        Event {
            state: state.to_string(),
            kind: "None".into(),
            path: None,
            zxid: -1,
        }
    }

    /// An event of a node; the server sends these only while connected.
    pub fn node(kind: impl ToString, path: &str, zxid: i64) -> Event {
        Event {
            state: "SyncConnected".into(),
            kind: kind.to_string(),
            path: Some(path.into()),
            zxid,
        }
    }

    /// The block zkCli prints (`ZooKeeperMain.MyWatcher#process`, `WatchedEvent#toString`).
    pub fn text(&self) -> String {
        let path = self.path.as_deref().unwrap_or("null");
        format!(
            "\nWATCHER::\n\nWatchedEvent state:{} type:{} path:{path} zxid: {}\n",
            self.state, self.kind, self.zxid
        )
    }

    fn json(&self) -> String {
        json!({"event": {"state": self.state, "type": self.kind, "path": self.path, "zxid": self.zxid}}).to_string()
            + "\n"
    }
}

/// Standard output and error, and the line editor between them.
#[derive(Default)]
pub struct Screen {
    /// JSON instead of text.
    pub json: bool,
    muted: AtomicBool,
    editor: Mutex<Option<Box<dyn ExternalPrinter + Send>>>,
}

impl Screen {
    /// A screen without a line editor.
    pub fn new(json: bool) -> Screen {
        Screen {
            json,
            ..Screen::default()
        }
    }

    /// Lets events be printed above the line that is being edited.
    pub fn attach_editor(&self, printer: Box<dyn ExternalPrinter + Send>) {
        *self.editor.lock().expect("no panic while printing") = Some(printer);
    }

    /// Text to standard output, as it is.
    pub fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    /// A line to standard output.
    pub fn line(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// A line to standard error.
    pub fn complain(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// Whether events are printed.
    pub fn prints_events(&self) -> bool {
        !self.muted.load(Ordering::Relaxed)
    }

    /// `printwatches on|off`.
    pub fn set_prints_events(&self, on: bool) {
        self.muted.store(!on, Ordering::Relaxed);
    }

    /// An event, unless `printwatches off`.
    pub fn event(&self, event: &Event) {
        if !self.prints_events() {
            return;
        }
        let text = if self.json { event.json() } else { event.text() };
        match self.editor.lock().expect("no panic while printing").as_mut() {
            Some(editor) => {
                let _ = editor.print(text);
            }
            None => self.print(&text),
        }
    }
}
