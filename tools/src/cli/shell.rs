//! The shell itself: where lines come from, the commands that need no server, history, exit status
//! (`ZooKeeperMain#run`, `#processZKCmd`).
//!
//! Piped input is answered like Java's dumb terminal: prompts without the typed line. Java drops a last line without a
//! line end; here it is run.

use std::io::{BufRead, IsTerminal};
use std::sync::Arc;

use tokio::runtime::Runtime;

use super::answer::{Answer, json_line};
use super::catalog::{self, Command};
use super::command::{self, Aside, Context, Mode};
use super::editor::LineEditor;
use super::failure::{Failure, Outcome};
use super::launch::Launch;
use super::screen::Screen;
use super::session::Session;
use super::watches::LAST_WORDS;
use super::words;

/// Commands `history` shows beside itself.
const HISTORY_SHOWN_COUNT: usize = 10;

/// Runs what `launch` asks for. Gives the exit status.
pub fn run(runtime: &Runtime, launch: Launch) -> i32 {
    let screen = Arc::new(Screen::new(launch.json));
    if let Err(failure) = super::launch::check_client_configuration(&launch) {
        screen.complain(&failure.text);
        return failure.exit;
    }
    runtime.block_on(async {
        let mut shell = Shell::open(launch, screen);
        if shell.launch.wait_for_connection
            && let Err(failure) = shell.session.wait_until_connected().await
        {
            shell.screen.complain(&failure.text);
            return failure.exit;
        }
        let one = std::mem::take(&mut shell.launch.command);
        if !one.is_empty() {
            shell.process(&one).await;
        } else if std::io::stdin().is_terminal() && !shell.launch.json {
            shell.converse().await;
        } else {
            shell.read_pipe().await;
        }
        // The session is left to time out, as Java leaves it: exit before the crate could close it.
        std::process::exit(shell.exit)
    })
}

struct Shell {
    launch: Launch,
    screen: Arc<Screen>,
    session: Session,
    watch_mode: Mode,
    /// The lines typed so far; the number of the next is its length.
    history: Vec<String>,
    exit: i32,
    done: bool,
}

impl Shell {
    fn open(launch: Launch, screen: Arc<Screen>) -> Shell {
        if !launch.json {
            screen.line(&format!("Connecting to {}", launch.server));
        }
        let session = Session::open(&launch.server, &launch, &screen);
        Shell {
            launch,
            screen,
            session,
            watch_mode: Mode::default(),
            history: Vec::new(),
            exit: 0,
            done: false,
        }
    }

    fn prompt(&self) -> String {
        format!(
            "[zk: {}({}) {}] ",
            self.session.server,
            self.session.state().name(),
            self.history.len()
        )
    }

    /// At a terminal.
    async fn converse(&mut self) {
        self.screen.line("Welcome to ZooKeeper!\nJLine support is enabled");
        let children = tokio::sync::watch::Sender::new(self.session.peek());
        let asked = children.subscribe();
        let handle = tokio::runtime::Handle::current();
        let ask = move |path: &str| {
            let client = asked.borrow().client();
            client
                .and_then(|client| handle.block_on(client.list_children(path)).ok())
                .unwrap_or_default()
        };
        let mut editor = match LineEditor::open(Box::new(ask)) {
            Ok(editor) => editor,
            Err(error) => {
                self.screen.complain(&format!("no line editing here: {error}"));
                return self.read_pipe().await;
            }
        };
        if let Ok(printer) = editor.printer() {
            self.screen.attach_editor(printer);
        }
        while !self.done {
            children.send_replace(self.session.peek());
            let prompt = self.prompt();
            // Editing blocks; it has a thread of its own so that completion may wait for the server.
            let read = tokio::task::spawn_blocking(move || {
                let line = editor.line(&prompt);
                (editor, line)
            });
            let Ok((back, Some(line))) = read.await else {
                return;
            };
            editor = back;
            self.execute(&line).await;
        }
    }

    /// From a pipe or a file.
    async fn read_pipe(&mut self) {
        if !self.launch.json {
            self.screen.line("Welcome to ZooKeeper!\nJLine support is enabled");
        }
        let mut lines = std::io::stdin().lock().lines();
        while !self.done {
            if !self.launch.json {
                self.screen.print(&self.prompt());
            }
            let Some(Ok(line)) = lines.next() else {
                break;
            };
            self.execute(&line).await;
        }
        if !self.done && !self.launch.json {
            self.screen.line("JLine support is disabled");
        }
    }

    /// `ZooKeeperMain#executeLine`: the line is in the history before it runs, and counted after.
    async fn execute(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        let words = words::split(line);
        self.history.push(line.to_owned());
        if !words.is_empty() {
            self.process(&words).await;
        }
    }

    /// Runs the words of one command, prints what came of it, and keeps the exit status.
    async fn process(&mut self, words: &[String]) {
        let screen = self.screen.clone();
        let mut aside = Aside::new(screen.clone());
        let outcome = self.dispatch(words, &mut aside).await;
        if self.done {
            return; // `quit` leaves with the status of the command before.
        }
        self.exit = outcome.as_ref().map_or_else(|failure| failure.exit, |_| 0);
        if screen.json {
            screen.line(&json_line(&words[0], &outcome, &aside.notes, &aside.messages));
            return;
        }
        match &outcome {
            Ok(answer) => {
                screen.print(&answer.text());
                answer.complaint().iter().for_each(|text| screen.complain(text));
            }
            Err(failure) => screen.complain(&failure.text),
        }
    }

    async fn dispatch(&mut self, words: &[String], aside: &mut Aside) -> Outcome<Answer> {
        let name = words[0].as_str();
        let Some(command) = catalog::find(name) else {
            aside.note(catalog::usage());
            return Err(Failure::not_found(name));
        };
        let own = self.own_command(command, words).await?;
        if self.done {
            return Ok(Answer::Nothing);
        }
        if !self.session.state().is_alive() {
            // Java prints the own command's text first, then this.
            if let Some(answer) = own {
                aside.message(answer.text().trim_end());
            }
            return Ok(Answer::NotConnected);
        }
        if let Some(answer) = own {
            return Ok(answer);
        }
        let mut cx = Context {
            session: &mut self.session,
            watch_mode: &mut self.watch_mode,
            aside,
        };
        command::run(command, words, &mut cx).await
    }

    /// The five commands that are the shell's; none for the others.
    async fn own_command(&mut self, command: &Command, words: &[String]) -> Outcome<Option<Answer>> {
        Ok(Some(match command.name {
            "quit" => {
                self.session.close().await;
                self.done = true;
                Answer::Nothing
            }
            "history" => Answer::History(self.recent()),
            "redo" => {
                if let Some(number) = words.get(1) {
                    self.redo(number).await?;
                }
                Answer::Nothing
            }
            "printwatches" => match words.get(1) {
                None => Answer::PrintWatches(self.screen.prints_events()),
                Some(word) => {
                    // What happened before is judged by the old setting.
                    tokio::time::sleep(LAST_WORDS).await;
                    self.screen.set_prints_events(word == "on");
                    Answer::Nothing
                }
            },
            "connect" => {
                let server = words.get(1).unwrap_or(&self.session.server).clone();
                self.session.close().await;
                self.session = Session::open(&server, &self.launch, &self.screen);
                if self.launch.wait_for_connection {
                    self.session.wait_until_connected().await?;
                }
                Answer::Nothing
            }
            _ => return Ok(None),
        }))
    }

    fn recent(&self) -> Vec<(usize, String)> {
        let first = self.history.len().saturating_sub(HISTORY_SHOWN_COUNT + 1);
        self.history.iter().cloned().enumerate().skip(first).collect()
    }

    /// Runs an earlier line again; the history then holds that line in place of the `redo`.
    async fn redo(&mut self, number: &str) -> Outcome<()> {
        let wanted: i64 = number.parse().map_err(|_| Failure::number(number))?;
        let own = self.history.len().saturating_sub(1);
        let index = usize::try_from(wanted).ok().filter(|index| *index < own);
        let Some(index) = index else {
            return Err(Failure::new("Command index out of range"));
        };
        let line = self.history[index].clone();
        let again = words::split(&line);
        if again.first().is_some_and(|name| name == "redo") {
            return Err(Failure::new("No redoing redos"));
        }
        self.history[own] = line;
        if !again.is_empty() {
            Box::pin(self.process(&again)).await;
        }
        Ok(())
    }
}
