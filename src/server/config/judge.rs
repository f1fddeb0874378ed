//! What becomes of each setting by its fate alone: refused, warned about, noted, or left to [`super::meant`].

use super::keys::Fate;
use super::notes::Notes;
use super::written::Written;

/// Applies each key's fate.
pub(super) fn judge(written: &Written, notes: &mut Notes) {
    let no_admin = written
        .get("admin.enableServer")
        .is_some_and(|it| it.key.is_default(&it.value));
    for setting in written.all() {
        let idle = no_admin && setting.name.starts_with("admin.");
        let asks = !setting.key.is_default(&setting.value) && !idle;
        match setting.key.fate {
            Fate::Refused(why) if asks => notes.problem(format!("{}: {}: {why}", setting.place, setting.shown())),
            Fate::Ignored(why) if asks => {
                notes.warn(format!("{}: {} has no effect: {why}", setting.place, setting.shown()));
            }
            Fate::Jvm => notes.jvm(&setting.name),
            Fate::Acts | Fate::Idle(_) | Fate::Refused(_) | Fate::Ignored(_) => {}
        }
    }
    classes(written, notes);
}

/// Java classes by name: those whose work is built in, and no others.
fn classes(written: &Written, notes: &mut Notes) {
    const SERVER: &str = "org.apache.zookeeper.server.";
    const METRICS: &str = "org.apache.zookeeper.metrics.";
    let known = |name: &str, prefix: &str, known: &[&str]| {
        known
            .iter()
            .any(|class| name == *class || name.strip_prefix(prefix) == Some(class))
    };
    for setting in written.all() {
        let value = setting.value.as_str();
        let why = match setting.key.name {
            "serverCnxnFactory" if !known(value, SERVER, &["NIOServerCnxnFactory", "NettyServerCnxnFactory"]) => {
                "there is one way to serve connections here; allowed are NIOServerCnxnFactory and \
                 NettyServerCnxnFactory, which mean the same"
            }
            "authProvider.N"
                if !known(
                    value,
                    SERVER,
                    &["auth.DigestAuthenticationProvider", "auth.IPAuthenticationProvider"],
                ) =>
            {
                "no Java class can be loaded here, and SASL and X.509 are not built yet; the schemes digest and ip are \
                 always there"
            }
            "metricsProvider.className" if value.contains(".prometheus.") => {
                "the Prometheus exporter is not built yet; the four-letter word mntr tells the same figures"
            }
            "metricsProvider.className"
                if !known(
                    value,
                    METRICS,
                    &["impl.DefaultMetricsProvider", "impl.NullMetricsProvider"],
                ) =>
            {
                "no Java class can be loaded here; allowed is org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"
            }
            _ => continue,
        };
        notes.problem(format!("{}: {}: {why}", setting.place, setting.shown()));
    }
}
