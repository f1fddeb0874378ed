//! Line editing at a terminal: history in `~/.zk-cli-history`, completion of commands and paths
//! (`JLineZNodeCompleter`).

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::history::{DefaultHistory, History as _};
use rustyline::{CompletionType, Config, Context, Editor, Helper, Highlighter, Hinter, Validator};

use super::catalog::COMMANDS;

/// Gives the children's names of a node; none when it has none or cannot be asked.
pub type Children = Box<dyn Fn(&str) -> Vec<String> + Send>;

/// What completes words.
#[derive(Helper, Highlighter, Hinter, Validator)]
pub struct Words {
    /// Asks the server.
    pub children: Children,
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<String>)> {
        Ok(complete(&line[..cursor], &self.children))
    }
}

/// The start of the last word and what it can become: a path when it begins with a slash, a command otherwise.
pub fn complete(line: &str, children: impl Fn(&str) -> Vec<String>) -> (usize, Vec<String>) {
    let start = line.rfind([' ', '\t']).map_or(0, |blank| blank + 1);
    let word = &line[start..];
    let Some(slash) = word.rfind('/').filter(|_| word.starts_with('/')) else {
        let names = COMMANDS
            .iter()
            .map(|command| command.name)
            .filter(|name| name.starts_with(word));
        return (start, names.map(str::to_owned).collect());
    };
    let (parent, prefix) = (if slash == 0 { "/" } else { &word[..slash] }, &word[slash + 1..]);
    let names = children(parent).into_iter().filter(|name| name.starts_with(prefix));
    let mut paths: Vec<String> = names.map(|name| format!("{}{name}", &word[..=slash])).collect();
    paths.sort_unstable();
    (start, paths)
}

/// The editor with its history.
pub struct LineEditor {
    editor: Editor<Words, DefaultHistory>,
    history: Option<PathBuf>,
}

impl LineEditor {
    /// Opens it on the terminal. A history that cannot be read starts empty.
    ///
    /// # Errors
    /// What rustyline finds wrong with the terminal.
    pub fn open(children: Children) -> rustyline::Result<LineEditor> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .auto_add_history(false)
            .build();
        let mut editor = Editor::with_config(config)?;
        editor.set_helper(Some(Words { children }));
        let history = history_file();
        if let Some(file) = &history {
            let _ = editor.load_history(file);
        }
        Ok(LineEditor { editor, history })
    }

    /// The printer for lines above the one that is edited.
    ///
    /// # Errors
    /// What rustyline finds wrong with the terminal.
    pub fn printer(&mut self) -> rustyline::Result<Box<dyn rustyline::ExternalPrinter + Send>> {
        Ok(Box::new(self.editor.create_external_printer()?))
    }

    /// The next line, or none at the end of input. Ctrl-C ends the shell, as it ends Java's.
    pub fn line(&mut self, prompt: &str) -> Option<String> {
        let line = self.editor.readline(prompt).ok()?;
        if self.editor.add_history_entry(&line).unwrap_or(false)
            && let Some(file) = &self.history
        {
            // At once, for `quit` leaves without coming back here.
            let _ = self.editor.history_mut().append(file);
        }
        Some(line)
    }
}

fn history_file() -> Option<PathBuf> {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty())?;
    Some(PathBuf::from(home).join(".zk-cli-history"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, start: usize, expected: &[&str]) {
        let children = |path: &str| match path {
            "/" => vec!["zoo".to_owned(), "zookeeper".into(), "app".into()],
            "/app" => vec!["two".into(), "one".into()],
            _ => vec![],
        };
        assert_eq!(
            complete(line, children),
            (start, expected.iter().map(|&s| s.to_owned()).collect()),
            "{line:?}"
        );
    }

    #[test]
    fn commands_and_paths_complete() {
        check("get", 0, &["get", "getAcl", "getAllChildrenNumber", "getEphemerals"]);
        check("q", 0, &["quit"]);
        check("ls /zo", 3, &["/zoo", "/zookeeper"]);
        check("ls /app/", 3, &["/app/one", "/app/two"]);
        check("ls -s /app/t", 6, &["/app/two"]);
        check("ls /none/x", 3, &[]);
        check("xyz", 0, &[]);
    }
}
