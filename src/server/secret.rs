//! Session passwords.
//!
//! Java derives a session's password from its id alone, so whoever learns an id (the four-letter word `cons` shows
//! it) can take the session over. A standalone server shares its sessions with nobody, so ours mixes a secret in,
//! kept beside the data so that sessions survive a restart. An ensemble uses Java's derivation, because there a session
//! may move between a Java server and ours (`SessionTrackerImpl`, `ZooKeeperServer#generatePasswd`).

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::base::id::{PASSWORD_BYTES, SessionId};

const SECRET_BYTES: usize = 32;
const FILE: &str = "session-secret";

/// How passwords are made.
#[derive(Clone)]
pub struct SessionKeys {
    /// `None` is Java's way.
    secret: Option<[u8; SECRET_BYTES]>,
}

impl SessionKeys {
    /// Java's, which every server of an ensemble knows.
    pub fn shared() -> SessionKeys {
        SessionKeys { secret: None }
    }

    /// Reads the secret of a data directory, or makes one.
    pub fn open(directory: &Path) -> io::Result<SessionKeys> {
        let path = directory.join(FILE);
        match std::fs::read(&path) {
            Ok(bytes) => {
                let secret = bytes.try_into().map_err(|_| {
                    let text = format!(
                        "{}: not {SECRET_BYTES} bytes; remove it to give every session a new password",
                        path.display()
                    );
                    io::Error::new(io::ErrorKind::InvalidData, text)
                })?;
                Ok(SessionKeys { secret: Some(secret) })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Self::create(directory, &path),
            Err(error) => Err(error),
        }
    }

    fn create(directory: &Path, path: &Path) -> io::Result<SessionKeys> {
        let secret = random_bytes::<SECRET_BYTES>()?;
        let temporary = path.with_extension("tmp");
        let mut file = std::fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)?;
        file.write_all(&secret)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)?;
        std::fs::File::open(directory)?.sync_all()?;
        Ok(SessionKeys { secret: Some(secret) })
    }

    /// A session's password.
    pub fn password(&self, session: SessionId) -> [u8; PASSWORD_BYTES] {
        let Some(secret) = self.secret else {
            return session.password();
        };
        let hash = Sha256::new()
            .chain_update(secret)
            .chain_update(session.0.to_be_bytes())
            .chain_update(secret)
            .finalize();
        hash[..PASSWORD_BYTES]
            .try_into()
            .expect("a hash is longer than a password")
    }

    /// Compares in constant time.
    pub fn accepts(&self, session: SessionId, password: &[u8]) -> bool {
        let expected = self.password(session);
        session.0 != 0
            && password.len() == expected.len()
            && expected
                .iter()
                .zip(password)
                .fold(0, |difference, (a, b)| difference | (a ^ b))
                == 0
    }
}

/// Bytes nobody can guess, from the kernel.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    use std::io::Read;
    let mut bytes = [0; N];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ensemble_has_the_passwords_of_java() {
        let keys = SessionKeys::shared();
        let password = keys.password(SessionId(0x200_0016_9c21_0000));
        let hex: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "e5aa094f0eb35844cb9c8ba7076d16f0");
        assert!(
            !keys.accepts(SessionId(0), &keys.password(SessionId(0))),
            "no session has the number 0"
        );
    }

    #[test]
    fn passwords_survive_a_restart_and_differ_between_directories() {
        let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keys = SessionKeys::open(here.path()).unwrap();
        let password = keys.password(SessionId(7));
        assert!(SessionKeys::open(here.path()).unwrap().accepts(SessionId(7), &password));
        assert!(
            !SessionKeys::open(there.path())
                .unwrap()
                .accepts(SessionId(7), &password)
        );
        assert!(!keys.accepts(SessionId(7), &password[..15]) && !keys.accepts(SessionId(8), &password));
        std::fs::write(here.path().join(FILE), b"short").unwrap();
        assert!(SessionKeys::open(here.path()).is_err());
    }
}
