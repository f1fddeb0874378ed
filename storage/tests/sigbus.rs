//! A snapshot that is shortened while it is mapped ends the process with a line that names the file, and nothing else
//! does. The tests run themselves again as children: each ends in its own way.

use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Output};

use storage::snapshot::{EXIT_MAP_LOST, map};

/// Set for the child: the file that it is to map.
const CHILD: &str = "RINGKEEPER_SIGBUS_FILE";

/// Runs one test of this file again, as a child with its own file.
fn child(test: &str, file: &std::path::Path) -> Output {
    let output = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(CHILD, file)
        .output();
    output.expect("the child")
}

#[test]
fn a_snapshot_that_is_shortened_ends_the_process_and_is_named() {
    if let Some(path) = std::env::var_os(CHILD) {
        let mapped = map(path.as_ref()).expect("mapped");
        assert_eq!(mapped[70_000], 7);
        std::fs::File::options()
            .write(true)
            .open(&path)
            .and_then(|file| file.set_len(4096))
            .expect("shortened");
        assert_eq!(mapped[100], 7, "what is left of the file can be read");
        let lost = mapped[70_000];
        panic!("the child read {lost} from a page that is not there");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("snapshot.00000000000000ff");
    std::fs::write(&path, vec![7; 100_000]).expect("the file");
    let output = child("a_snapshot_that_is_shortened_ends_the_process_and_is_named", &path);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(EXIT_MAP_LOST), "{said}");
    let line = format!("ringkeeper: {}, offset 70000: the file was shortened", path.display());
    assert!(said.contains(&line) && said.contains("SIGBUS"), "{said}");
}

#[test]
fn a_sigbus_elsewhere_ends_the_process_as_before() {
    if let Some(path) = std::env::var_os(CHILD) {
        let _mapped = map(path.as_ref()).expect("mapped");
        let other = std::path::Path::new(&path).with_extension("other");
        std::fs::write(&other, vec![7; 100_000]).expect("another file");
        let file = std::fs::File::options()
            .read(true)
            .write(true)
            .open(&other)
            .expect("it");
        // SAFETY: nobody else has the file; that it is shortened below the mapping is what is tested.
        let mapped = unsafe { memmap2::Mmap::map(&file) }.expect("mapped");
        file.set_len(4096).expect("shortened");
        let lost = mapped[70_000];
        panic!("the child read {lost} from a page that is not there");
    }
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("snapshot.00000000000000ff");
    std::fs::write(&path, vec![7; 100_000]).expect("the file");
    let output = child("a_sigbus_elsewhere_ends_the_process_as_before", &path);
    let said = String::from_utf8_lossy(&output.stderr);
    // SIGBUS, whose number is 7: by whoever has it in a test, or the default.
    assert_eq!(output.status.signal(), Some(7), "{:?}: {said}", output.status);
    assert!(!said.contains("ringkeeper: "), "{said}");
}
