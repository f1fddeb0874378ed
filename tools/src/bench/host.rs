//! What a report says of its surroundings: the machine, and the heap of a JVM that runs on it.

use std::fs;
use std::process::Command;

/// What a JVM's heap holds after a full collection.
pub fn heap_mib(pid: u32) -> Result<f64, String> {
    let jcmd = |word: &str| -> Result<String, String> {
        let output = Command::new("jcmd")
            .args([&pid.to_string(), word])
            .output()
            .map_err(|error| {
                format!("'jcmd' is missing: install a JDK 17 (Debian: openjdk-17-jdk-headless): {error}")
            })?;
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    jcmd("GC.run")?;
    let text = jcmd("GC.heap_info")?;
    used_mib(&text).ok_or_else(|| format!("jcmd GC.heap_info shows no heap:\n{text}"))
}

/// The sum of the generations' "used" in the answer of GC.heap_info; classes are not heap.
fn used_mib(text: &str) -> Option<f64> {
    let lines = text
        .lines()
        .filter(|line| !line.contains("Metaspace") && !line.contains("class space"));
    let used = lines.filter_map(|line| {
        let (_, rest) = line.split_once("used ")?;
        rest.split_once('K')?.0.trim().parse::<f64>().ok()
    });
    let kib: Vec<f64> = used.collect();
    (!kib.is_empty()).then(|| kib.iter().sum::<f64>() / 1024.0)
}

/// Processors, memory and kernel, in one line.
pub fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let info = read("/proc/cpuinfo");
    let model = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown processor", |(_, name)| name.trim());
    let memory = read("/proc/meminfo");
    let kib: f64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    format!(
        "{} processors ({model}), {:.0} GiB, Linux {}",
        std::thread::available_parallelism().map_or(0, usize::from),
        kib / (1 << 20) as f64,
        read("/proc/sys/kernel/osrelease").trim()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heaps_are_read() {
        let g1 = " garbage-first heap   total 524288K, used 102400K [0x1, 0x2)\n  region size 1024K, 1 young (1024K)\n \
                  Metaspace       used 19000K, committed 19500K\n  class space    used 2000K, committed 2100K\n";
        assert_eq!(used_mib(g1), Some(100.0));
        let serial = " def new generation   total 9792K, used 1024K [\n  eden space 8704K,  5% used [0x)\n tenured generation   total \
                      21888K, used 2048K [\n";
        assert_eq!(used_mib(serial), Some(3.0));
        assert_eq!(used_mib("nothing"), None);
    }
}
