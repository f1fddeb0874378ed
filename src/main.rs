//! The server binary, `zk-server`.
use std::collections::HashMap;

use ringkeeper::io::Engine;
use ringkeeper::replica::{Settings, reap::ReapSettings};
use ringkeeper::server::{options::*, serve::Prepared};
use ringkeeper::tree::Features;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Until `server::launch` is here: `zk-server start-foreground CFG` with a handful of keys.
fn main() {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let path = std::env::args().nth(2).expect("start-foreground CFG");
    let text = std::fs::read_to_string(path).unwrap();
    let keys: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(k, v)| (k.trim(), v.trim()))
        .collect();
    let int = |key: &str, default: i64| keys.get(key).map_or(default, |v| v.parse().unwrap());
    let engine = match keys.get("ringkeeper.engine") {
        Some(&"epoll") => Engine::Epoll,
        _ => Engine::Uring,
    };
    let dir: std::path::PathBuf = keys["dataDir"].into();
    let tick = int("tickTime", 2000);
    let options = Options {
        listen: ([127, 0, 0, 1], int("clientPort", 2181) as u16).into(),
        backlog: 50,
        keep_alive: false,
        cores: 2,
        engine,
        data_dir: dir.clone(),
        log_dir: keys.get("dataLogDir").map_or(dir, |v| v.into()),
        segment_bytes: 64 << 20,
        force_sync: true,
        sync_warning_ms: 1000,
        retain_snapshots: 3,
        purge: true,
        snap_count: int("snapCount", 100_000) as u64,
        snap_bytes: None,
        snap_rate: None,
        batch_max: 1000,
        features: Features {
            extended_types: keys
                .get("zookeeper.extendedTypesEnabled")
                .or(keys.get("extendedTypesEnabled"))
                == Some(&"true"),
            digest: true,
            ..Default::default()
        },
        desk: Settings {
            tick_ms: tick as u64,
            enforce_quota: keys.get("enforceQuota") == Some(&"true"),
            reconfig_enabled: keys.get("reconfigEnabled") == Some(&"true"),
            reap: ReapSettings {
                interval_ms: int("znode.container.checkIntervalMs", 60000) as u64,
                per_minute_max: 10000,
                never_used_ms: 0,
            },
            server_id: 1,
        },
        session_timeout_ms: (
            int("minSessionTimeout", 2 * tick) as i32,
            int("maxSessionTimeout", 20 * tick) as i32,
        ),
        frame_bytes_max: 0xfffff,
        per_ip_max: 60,
        connections_max: 0,
        outstanding_max: 1000,
        sessionless_ms: 10000,
        required_schemes: vec![],
        words: None,
        read_only_mode: false,
        shown: Default::default(),
    };
    let prepared = Prepared::new(options).map_err(|e| e.to_string()).unwrap();
    println!("listening on {}", prepared.address().unwrap());
    prepared.serve().map_err(|e| e.to_string()).unwrap();
}
