//! `Driver`: the JVM of `Driver.java`, asked one line at a time.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::jars::{classpath, driver_classes};

/// A running driver; it ends with this value.
pub struct Driver {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Driver {
    /// Starts one for the brokers at these addresses. What Kafka's client logs goes to a file in `directory`.
    pub fn start(brokers: &str, directory: &Path) -> Self {
        let logger = directory.join("driver-log4j.properties");
        std::fs::write(&logger, super::jars::logger("WARN")).expect("driver-log4j.properties");
        let errors = File::create(directory.join("driver.log")).expect("driver.log");
        let mut child = Command::new("java")
            .args([
                "-Xmx384m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dfile.encoding=UTF-8",
            ])
            .arg(format!("-Dlog4j.configuration=file:{}", logger.display()))
            .args([
                "-cp",
                &format!("{}:{}", driver_classes().display(), classpath()),
                "Driver",
                brokers,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            .spawn()
            .expect("'java' is missing: install a JDK 17 (Debian: openjdk-17-jdk-headless)");
        Self {
            commands: child.stdin.take(),
            answers: BufReader::new(child.stdout.take().expect("its output")),
            child,
        }
    }

    /// A command that must succeed; what it answers.
    #[track_caller]
    pub fn ask(&mut self, words: &[&str]) -> String {
        self.try_ask(words).unwrap_or_else(|error| panic!("{words:?}: {error}"))
    }

    /// A command; what it answers, or how it failed.
    #[track_caller]
    pub fn try_ask(&mut self, words: &[&str]) -> Result<String, String> {
        let commands = self.commands.as_mut().expect("a running driver");
        writeln!(commands, "{}", words.join("\t")).expect("the driver lives");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("the driver answers");
        let (verdict, text) = match line.trim_end_matches('\n').split_once('\t') {
            Some(parts) => parts,
            None => (line.trim_end(), ""),
        };
        let text = text.replace("\\n", "\n").replace("\\\\", "\\");
        match verdict {
            "ok" => Ok(text),
            "failed" => Err(text),
            _ => panic!("{words:?}: the driver ended, or said {line:?}"),
        }
    }

    /// One of Kafka's own tools, by its class, which must end with 0; what it printed.
    #[track_caller]
    pub fn tool(&mut self, class: &str, arguments: &[&str]) -> String {
        self.ask(&[&["tool", class], arguments].concat())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The end of its input ends it; whether it listens or not, it does not outlive the test.
        self.commands.take();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
