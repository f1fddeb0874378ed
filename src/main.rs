//! The server binary, `zk-server`.
use ringkeeper::io::Engine;
use ringkeeper::replica::{Settings, reap::ReapSettings};
use ringkeeper::server::{options::*, serve::Prepared};
use ringkeeper::tree::Features;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    let port: u16 = std::env::args().nth(1).unwrap_or("2181".into()).parse().unwrap();
    let dir: std::path::PathBuf = std::env::args().nth(2).unwrap_or("/tmp/rk".into()).into();
    let engine = if std::env::args().nth(3).as_deref() == Some("epoll") {
        Engine::Epoll
    } else {
        Engine::Uring
    };
    let options = Options {
        listen: ([127, 0, 0, 1], port).into(),
        backlog: 50,
        keep_alive: false,
        cores: 2,
        engine,
        data_dir: dir.clone(),
        log_dir: dir,
        segment_bytes: 64 << 20,
        force_sync: true,
        sync_warning_ms: 1000,
        retain_snapshots: 3,
        purge: true,
        snap_count: 100_000,
        snap_bytes: None,
        snap_rate: None,
        batch_max: 1000,
        features: Features {
            extended_types: true,
            digest: true,
            ..Default::default()
        },
        desk: Settings {
            tick_ms: 2000,
            enforce_quota: false,
            reconfig_enabled: false,
            reap: ReapSettings {
                interval_ms: 60000,
                per_minute_max: 10000,
                never_used_ms: 0,
            },
            server_id: 1,
        },
        session_timeout_ms: (4000, 40000),
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
