//! Apache Kafka's jars, pinned in `tools/apache-kafka.pom.xml` and cached like the other peers; `tools/kafka.sh` fills
//! the same directory under the same lock.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::{need, run};
use crate::peers::cache_dir;

const POM: &str = "tools/apache-kafka.pom.xml";
const VERSION: &str = "3.9.2";

/// The classpath of Kafka's brokers, tools and clients; downloaded on the first call ever.
pub fn classpath() -> String {
    need("java", "a JDK 17 (Debian: openjdk-17-jdk-headless)");
    let pom = Path::new(env!("CARGO_MANIFEST_DIR")).join(POM);
    let text = fs::read_to_string(&pom).expect(POM);
    assert!(
        text.contains(&format!("<version>{VERSION}</version>")),
        "{POM} names another version"
    );
    let jars = cache_dir(&format!("kafka-{VERSION}"), |directory| {
        need("mvn", "Maven 3 (Debian: maven)");
        run(Command::new("mvn")
            .args(["-B", "-q", "-f"])
            .arg(&pom)
            .arg("org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies")
            .arg(format!("-DoutputDirectory={}", directory.display())));
    });
    format!("{}/*", jars.display())
}

/// A `log4j.properties`: what is of this level or worse goes to standard error.
pub fn logger(level: &str) -> String {
    format!(
        "log4j.rootLogger={level}, out\n\
         log4j.appender.out=org.apache.log4j.ConsoleAppender\n\
         log4j.appender.out.target=System.err\n\
         log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
         log4j.appender.out.layout.ConversionPattern=%d %p %m (%c)%n\n"
    )
}

/// `Driver.java`, compiled once per test run.
pub fn driver_classes() -> &'static Path {
    static CLASSES: OnceLock<PathBuf> = OnceLock::new();
    CLASSES.get_or_init(|| {
        need("javac", "a JDK 17 (Debian: openjdk-17-jdk-headless)");
        let classes = crate::cache::built("kafka-driver");
        run(Command::new("javac")
            .args(["-encoding", "UTF-8", "-proc:none", "-cp"])
            .arg(classpath())
            .arg("-d")
            .arg(&classes)
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/Driver.java")));
        classes
    })
}
