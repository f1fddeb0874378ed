//! STAND-IN trait only.
#![allow(missing_docs)]
use crate::Zxid;
pub trait Recover {
    fn begin_snapshot(&mut self, zxid: Zxid, seed: u64, meta: &[u8]) -> Result<(), String>;
    fn entry(&mut self, key: &[u8], value: &[u8]) -> Result<(), String>;
    fn end_snapshot(&mut self) -> Result<(), String>;
    fn record(&mut self, zxid: Zxid, payload: &[u8]) -> Result<(), String>;
}
use std::path::{Path, PathBuf};
#[derive(Default)]
pub struct Options {
    pub data_dir: PathBuf,
    pub log_dir: PathBuf,
    pub segment_bytes: u64,
    pub direct: bool,
    pub retain_snapshots: usize,
    pub fsync: bool,
    pub x: u8,
}
pub struct Engine(PathBuf, PathBuf);
impl Engine {
    pub fn open(o: Options, _r: &mut dyn Recover) -> Result<(Engine, crate::log::Log, String), String> {
        std::fs::create_dir_all(&o.data_dir).unwrap();
        Ok((Engine(o.data_dir, o.log_dir), crate::log::Log::new(), "stand-in".into()))
    }
    pub fn write_snapshot<'a>(
        &self,
        _z: Zxid,
        _s: u64,
        _m: &[u8],
        _e: &mut dyn Iterator<Item = (&'a [u8], &'a [u8])>,
        _r: Option<u64>,
    ) -> Result<String, String> {
        Ok("x".into())
    }
    pub fn data_path(&self) -> &Path {
        &self.0
    }
    pub fn log_path(&self) -> &Path {
        &self.1
    }
}
