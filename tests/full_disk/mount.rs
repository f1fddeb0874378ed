//! Small file systems of a test's own: a tmpfs, or ext4 on a loop device; gone with their guard, also after a panic.
//!
//! Mounting is root's right, and some containers refuse it to root too. Then [`Mount`] gives the reason, and the test
//! prints it instead of showing anything. A missing tool is another matter: it is named, and the test fails.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A mounted file system.
pub struct Mount {
    /// The directory it is mounted on; also holds what is not in it.
    _directory: TempDir,
    path: PathBuf,
    device: Option<String>,
}

impl Mount {
    /// Memory of that size.
    pub fn tmpfs(megabytes: u64) -> Result<Mount, String> {
        let (directory, path) = place();
        let size = format!("size={megabytes}m,mode=755");
        run("mount", &["-t", "tmpfs", "-o", &size, "ringkeeper-test", text(&path)])?;
        Ok(Mount {
            _directory: directory,
            path,
            device: None,
        })
    }

    /// An ext4 of that size in a file at `image`, which is made anew and has no blocks at first.
    pub fn ext4(image: &Path, megabytes: u64) -> Result<Mount, String> {
        File::create(image)
            .and_then(|file| file.set_len(megabytes << 20))
            .expect("the image of a disk");
        // Whole tables at once: nothing is to be initialised behind a test's back.
        let tables = "lazy_itable_init=0,lazy_journal_init=0,nodiscard";
        run(
            "mkfs.ext4",
            &["-q", "-F", "-b", "4096", "-m", "0", "-E", tables, text(image)],
        )
        .unwrap_or_else(|error| panic!("{error}"));
        Mount::image(image)
    }

    /// What is in an image already.
    pub fn image(image: &Path) -> Result<Mount, String> {
        let (directory, path) = place();
        let device = run("losetup", &["--find", "--show", text(image)])?.trim().to_owned();
        let mut mount = Mount {
            _directory: directory,
            path,
            device: Some(device.clone()),
        };
        if let Err(error) = run("mount", &["-o", "noinit_itable", &device, text(&mount.path)]) {
            let _ = run("losetup", &["--detach", &device]);
            mount.device = None;
            mount.path = PathBuf::new();
            return Err(error);
        }
        Ok(mount)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes it read-only.
    pub fn remount_read_only(&self) -> Result<(), String> {
        run("mount", &["-o", "remount,ro", text(&self.path)]).map(drop)
    }

    /// Bytes that can still be written.
    pub fn free(&self) -> u64 {
        let found = rustix::fs::statvfs(&self.path).expect("statvfs");
        found.f_bavail * found.f_frsize
    }

    /// A file that leaves so many bytes free, and its name.
    pub fn ballast(&self, name: &str, left_free: u64) -> PathBuf {
        let path = self.path.join(name);
        let mut file = File::create(&path).expect("a ballast file");
        let bytes = vec![0x5a; 1 << 16];
        while self.free() > left_free {
            let now = (self.free() - left_free).min(bytes.len() as u64) as usize;
            match file.write(&bytes[..now]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => break,
                Err(error) => panic!("{}: {error}", path.display()),
            }
            // Delayed allocation would make `free` a guess.
            file.sync_all().expect("a synced ballast");
        }
        path
    }

    /// Takes it down now, with an error if something still uses it.
    pub fn unmount(mut self) {
        self.take_down(false).unwrap_or_else(|error| panic!("{error}"));
    }

    fn take_down(&mut self, by_force: bool) -> Result<(), String> {
        let path = std::mem::take(&mut self.path);
        if path.as_os_str().is_empty() {
            return Ok(());
        }
        let mut result = run("umount", &[text(&path)]).map(drop);
        if result.is_err() && by_force {
            result = run("umount", &["--lazy", text(&path)]).map(drop);
        }
        if let Some(device) = self.device.take() {
            result = result.and(run("losetup", &["--detach", &device]).map(drop));
        }
        result
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Err(error) = self.take_down(true) {
            eprintln!("{error}");
        }
    }
}

fn place() -> (TempDir, PathBuf) {
    let directory = TempDir::with_prefix("ringkeeper-disk-").expect("temporary directory");
    let path = directory.path().join("mounted");
    fs::create_dir(&path).expect("a place to mount at");
    (directory, path)
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

/// Runs a tool; an error is what it said.
pub fn run(tool: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(tool).args(arguments).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{tool}: {error}; it is needed here (apt-get install util-linux e2fsprogs python3)")
    });
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(format!("{tool} {}: {said}", arguments.join(" ")))
}
