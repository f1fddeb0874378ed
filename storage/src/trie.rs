//! STAND-IN (not to be committed): imbl map behind the trie's API.
#![allow(missing_docs)]
use std::sync::Arc;
type M = imbl::OrdMap<Vec<u8>, Arc<[u8]>>;
pub struct Trie {
    seed: u64,
    m: M,
    generation: u64,
}
pub struct Checkpoint(M);
#[derive(Clone)]
pub struct Version {
    m: M,
    generation: u64,
}
impl Version {
    pub fn generation(&self) -> u64 {
        self.generation
    }
    pub fn len(&self) -> usize {
        self.m.len()
    }
}
#[derive(Clone)]
pub struct Reader {
    seed: u64,
    m: M,
    generation: u64,
}
impl Trie {
    pub fn new(seed: u64) -> Trie {
        Trie {
            seed,
            m: M::new(),
            generation: 0,
        }
    }
    pub fn seed(&self) -> u64 {
        self.seed
    }
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.m.get(key).map(|v| &**v)
    }
    pub fn put(&mut self, key: &[u8], parts: &[&[u8]]) {
        self.m.insert(key.to_vec(), parts.concat().into());
    }
    pub fn remove(&mut self, key: &[u8]) -> bool {
        self.m.remove(key).is_some()
    }
    pub fn len(&self) -> usize {
        self.m.len()
    }
    pub fn is_empty(&self) -> bool {
        self.m.is_empty()
    }
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.m.iter().map(|(k, v)| (&k[..], &v[..]))
    }
    pub fn checkpoint(&mut self) -> Checkpoint {
        Checkpoint(self.m.clone())
    }
    pub fn rollback(&mut self, to: Checkpoint) {
        self.m = to.0
    }
    pub fn commit(&mut self, _c: Checkpoint) {}
    pub fn seal(&mut self) -> Version {
        self.generation += 1;
        Version {
            m: self.m.clone(),
            generation: self.generation,
        }
    }
    pub fn reader(&mut self) -> Reader {
        Reader {
            seed: self.seed,
            m: self.m.clone(),
            generation: self.generation,
        }
    }
    pub fn reclaim(&mut self, _b: usize) -> usize {
        0
    }
    pub fn retired_len(&self) -> usize {
        0
    }
}
impl Reader {
    pub fn advance(&mut self, v: &Version) {
        self.m = v.m.clone();
        self.generation = v.generation;
    }
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        self.m.get(key).map(|v| &**v)
    }
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.m.iter().map(|(k, v)| (&k[..], &v[..]))
    }
    pub fn seed(&self) -> u64 {
        self.seed
    }
    pub fn len(&self) -> usize {
        self.m.len()
    }
}
