//! node-zookeeper-client 1.1.3 (JavaScript).

use std::fs;
use std::process::Command;

use crate::cache::{filled, need, run, source};
use crate::scenario::{COMMON, play};

#[test]
fn node_zookeeper_client() {
    need("node", "Node.js 20 (https://nodejs.org)");
    need("npm", "npm (comes with Node.js)");
    let manifests = ["node/package.json", "node/package-lock.json"].map(source);
    let pins: String = manifests.iter().map(|path| fs::read_to_string(path).unwrap()).collect();
    let dir = filled("node-zookeeper-client-1.1.3", &pins, |dir| {
        for manifest in &manifests {
            fs::copy(manifest, dir.join(manifest.file_name().unwrap())).unwrap();
        }
        run(Command::new("npm")
            .args(["ci", "--silent", "--no-audit", "--no-fund"])
            .current_dir(dir));
    });
    play("node-zookeeper-client 1.1.3", &[COMMON, &["mkdirp"]].concat(), || {
        let mut command = Command::new("node");
        command
            .arg(source("node/scenario.js"))
            .env("NODE_PATH", dir.join("node_modules"));
        command
    });
}
