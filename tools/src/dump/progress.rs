//! How far a long reading is: a bar on stderr, with the rate and the time that is left.
//!
//! Only for people: there is none if stderr is no terminal, if `--no-progress` was said, or if lines go to a terminal
//! meanwhile, which are progress enough. It is drawn by who reads, at most ten times a second; nothing waits for it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use indicatif::{HumanBytes, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use ringkeeper::wire::show::Escaped;

/// With less than this read the bar is not asked to draw itself: asking costs a look at the clock.
const STEP_BYTES: u64 = 64 << 10;
const DRAWS_PER_SECOND: u8 = 10;
const TEMPLATE: &str = "{msg} [{wide_bar}] {binary_bytes}/{binary_total_bytes} {rate} {left}";

/// The bar, if there is one.
pub struct Progress {
    wanted: bool,
    bar: RefCell<Option<ProgressBar>>,
    /// Bytes of all files that will be read.
    total: Cell<u64>,
    /// Bytes of the files before this one.
    before: Cell<u64>,
    told: Cell<u64>,
}

impl Progress {
    /// A bar if one is wanted and somebody sees it.
    pub fn new(wanted: bool) -> Progress {
        Progress {
            wanted: wanted && std::io::stderr().is_terminal(),
            bar: RefCell::new(None),
            total: Cell::new(0),
            before: Cell::new(0),
            told: Cell::new(0),
        }
    }

    /// What will be read from now on: so many bytes in all its files.
    pub fn begin(&self, bytes: u64) {
        self.total.set(bytes);
    }

    /// Goes on with a file: the `number`th of `count`, behind `before` bytes in others.
    pub fn file(&self, path: &Path, number: usize, count: usize, before: u64) {
        self.before.set(before);
        self.told.set(before);
        if !self.wanted {
            return;
        }
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
        let of = match count {
            1 => String::new(),
            _ => format!(" ({number} of {count})"),
        };
        let mut bar = self.bar.borrow_mut();
        let bar = bar.get_or_insert_with(|| new_bar(self.total.get(), before));
        bar.set_message(format!("{}{of}", Escaped(&name)));
        bar.set_position(before);
        bar.tick();
    }

    /// So many bytes of the file were read.
    pub fn at(&self, offset: u64) {
        let position = self.before.get() + offset;
        if position < self.told.get() + STEP_BYTES {
            return;
        }
        self.told.set(position);
        if let Some(bar) = &*self.bar.borrow() {
            bar.set_position(position);
        }
    }

    /// Something else will be written: the bar goes away, until the next file.
    pub fn end(&self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// A bar that begins behind what others have read: those bytes say nothing of its rate.
fn new_bar(total: u64, before: u64) -> ProgressBar {
    let rate = move |state: &ProgressState| state.pos().saturating_sub(before) as f64 / state.elapsed().as_secs_f64();
    let show_rate = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let _ = write!(out, "{}/s", HumanBytes(rate(state) as u64));
    };
    let show_left = move |state: &ProgressState, out: &mut dyn fmt::Write| {
        let left = state.len().unwrap_or_default().saturating_sub(state.pos()) as f64;
        // Nothing is known before the first bytes.
        if let Ok(left) = Duration::try_from_secs_f64(left / rate(state)) {
            let _ = write!(out, "{:#} left", HumanDuration(left));
        }
    };
    let style = ProgressStyle::with_template(TEMPLATE).expect("a template that indicatif knows");
    let style = style.with_key("rate", show_rate).with_key("left", show_left);
    let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
    ProgressBar::with_draw_target(Some(total), target).with_style(style.progress_chars("=> "))
}
