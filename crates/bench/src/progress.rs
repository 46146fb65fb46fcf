//! A bar for the person who waits. Nothing is drawn unless standard error is a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::pace::Pace;

/// Steps of the bar.
const STEPS: u64 = 1_000;

/// A bar that goes away when it is dropped.
pub(crate) struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Begins a bar with a name.
    pub(crate) fn start(name: &'static str, quiet: bool) -> Progress {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bar = ProgressBar::with_draw_target(Some(STEPS), target).with_prefix(name);
        let style = ProgressStyle::with_template("{prefix:>8} [{bar:40}] {percent:>3}% {msg}")
            .expect("the template is constant");
        bar.set_style(style.progress_chars("=> "));
        Progress { bar }
    }

    /// How often [`Progress::show`] is worth calling.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_millis(if self.bar.is_hidden() { 1_000 } else { 100 })
    }

    /// Draws how far `pace` is.
    pub(crate) fn show(&self, pace: &Pace) {
        let rate = pace.handed_out() as f64 / pace.started().elapsed().as_secs_f64();
        self.set(pace.progress(), format!("{rate:.0}/s"));
    }

    /// Draws a part of the whole, between 0 and 1, and a text.
    pub(crate) fn set(&self, part: f64, message: String) {
        self.bar.set_position((part * STEPS as f64) as u64);
        self.bar.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
